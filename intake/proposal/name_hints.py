"""What columns are called in published data sets; a hint where the content leaves a choice."""

import re

_HINTS: dict[str, str] = {
    "user": (
        "user userid uid reviewerid customerid customer visitorid sessionid session memberid "
        "username clientid buyerid accountid household householdkey householdid authorid useridx "
        "profileid personid deviceid msno"
    ),
    "item": (
        "item itemid movieid movie asin parentasin articleid article businessid bookid book isbn "
        "trackid track traid songid song artistid artid productid product sku stockcode newsid "
        "news appid gameid game recipeid restaurantid videoid contentid adid goodsid gmapid "
        "listingid showid animeid placeid"
    ),
    "title": (
        "title name prodname productname booktitle movietitle traname trackname songname "
        "businessname itemname headline description artname artistname gametitle"
    ),
    "value": "rating overall stars score ratings value reviewscore bookrating label clicked click",
    "truth": "isrecommended recommended liked islike voteup votedup clicked click label ispositive",
    "time": (
        "timestamp time date datetime eventtimestamp eventtime unixreviewtime tdat vtime "
        "dateadded createdat created ts reviewtime invoicedate orderdate when starttime playedat"
    ),
    "known": (
        "eventtimestamp releasedate daterelease published publisheddate publicationdate createdat "
        "created addedat launchdate listedat yelpingsince registeredat signupdate joined updatedat"
    ),
    "type": "eventtype event action actiontype behavior behaviortype behaviour interactiontype",
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

    >>> plain("Customer_ID"), plain("reviewerID")
    ('customerid', 'reviewerid')
    """
    return re.sub(r"[^a-z0-9]", "", name.lower())


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
