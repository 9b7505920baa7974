"""What columns are called in published data sets; a hint where the content leaves a choice."""

import re

_HINTS: dict[str, str] = {
    "user": (
        "user userid uid reviewerid customerid customer visitorid sessionid session memberid "
        "username clientid buyerid accountid household householdkey householdid authorid useridx "
        "profileid personid deviceid msno 用户 用户id 用户编号 会员 会员id 读者 客户 客户id 买家"
    ),
    "item": (
        "item itemid movieid movie asin parentasin articleid article businessid bookid book isbn "
        "trackid track traid songid song artistid artid productid product sku stockcode newsid "
        "news appid gameid game recipeid restaurantid videoid contentid adid goodsid gmapid "
        "listingid showid animeid placeid 商品 商品id 商品编号 物品 书号 电影id 新闻id 歌曲"
    ),
    "title": (
        "title name prodname productname booktitle movietitle traname trackname songname "
        "businessname itemname headline description artname artistname gametitle "
        "标题 名称 商品名称 书名 片名 歌名 品名"
    ),
    "value": (
        "rating overall stars score ratings value reviewscore bookrating label clicked click "
        "评分 打分 评价 星级"
    ),
    "truth": "isrecommended recommended liked islike voteup votedup clicked click label ispositive",
    "time": (
        "timestamp time date datetime eventtimestamp eventtime unixreviewtime tdat vtime "
        "dateadded createdat created ts reviewtime invoicedate orderdate when starttime playedat "
        "时间 日期 时间戳 下单时间 评论时间 点击时间"
    ),
    "known": (
        "eventtimestamp releasedate daterelease published publisheddate publicationdate createdat "
        "created addedat launchdate listedat yelpingsince registeredat signupdate joined updatedat "
        "发布时间 上架时间 出版日期 注册时间"
    ),
    "type": (
        "eventtype event action actiontype behavior behaviortype behaviour interactiontype 行为 "
        "行为类型 动作"
    ),
    "event": "reviewid eventid interactionid transactionid",
}
_WORDS = {role: frozenset(names.split()) for role, names in _HINTS.items()}
# What is counted from events to come must be no feature of an item or user.
_COUNTED = re.compile(
    r"(count|average|avg|mean|rating|stars|score|popular|reviews|votes|ratio|rank|likes|fans"
    r"|useful|funny|views|sales|sold|purchases|helpful|playtime|products)",
    re.IGNORECASE,
)
_CODE = re.compile(r"(id|code|no|number|zip|postal_?code|channel|type|group|level|flag)$", re.I)


def plain(name: str) -> str:
    """A name in small letters, without what stands between its words.

    >>> plain("Customer_ID"), plain("用户 ID")
    ('customerid', '用户id')
    """
    return re.sub(r"[\W_]", "", name.lower())


def hints_at(name: str, role: str) -> bool:
    """Whether a column of that name often has that role."""
    return plain(name) in _WORDS[role]


def is_counted(name: str) -> bool:
    """Whether a name says that a number was counted over events."""
    return _COUNTED.search(name) is not None


def is_code(name: str) -> bool:
    """Whether a name says that numbers are names: ids, codes, types.

    >>> is_code("department_no"), is_code("price")
    (True, False)
    """
    return _CODE.search(name) is not None
