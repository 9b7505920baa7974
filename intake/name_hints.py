"""What columns are called in published data sets, and how clearly a name says its role."""

import re
import unicodedata

# Names that say a role clearly; then names that often mean something else.
_HINTS: dict[str, tuple[str, str]] = {
    "user": (
        "user userid uid reviewerid customerid customer memberid username buyerid accountid "
        "useridx personid msno customerno customernumber customeremail useremail shopper "
        "shopperid kunde kundenid kundennummer nutzer nutzerid benutzer benutzerid client "
        "idclient cliente idcliente usuario idusuario utilisateur utente "
        "用户 用户id 用户编号 会员 会员id 读者 客户 客户id 买家",
        "visitorid sessionid session clientid household householdkey householdid authorid "
        "profileid deviceid email",
    ),
    "item": (
        "item itemid movieid movie asin parentasin articleid article businessid bookid book isbn "
        "trackid track traid songid song productid product sku stockcode newsid isbn13 ean gtin "
        "upc news appid gameid game recipeid restaurantid videoid contentid adid goodsid gmapid "
        "listingid showid animeid placeid productno itemno articleno artikel artikelid "
        "artikelnummer produkt produktid produktnummer buch produit idproduit producto idproducto "
        "articulo prodotto libro livre "
        "商品 商品id 商品编号 物品 书号 电影id 新闻id 歌曲",
        "artistid artist",
    ),
    "title": (
        "title name prodname productname booktitle movietitle traname trackname songname "
        "businessname itemname headline producttitle itemtitle articlename articletitle gametitle "
        "titel titre titulo titolo nombre nom nome namn navn artikelname produktname buchtitel "
        "bezeichnung artikelbezeichnung produktbezeichnung libelle designation nomproduit "
        "标题 名称 商品名称 书名 片名 歌名 品名",
        "description artname artistname",
    ),
    "value": (
        "rating overall stars score ratings reviewscore bookrating bewertung sterne punktzahl "
        "calificacion valoracion puntuacion voto avaliacao 评分 打分 评价 星级",
        "value label clicked click note",
    ),
    "truth": (
        "isrecommended recommended liked islike voteup votedup ispositive",
        "clicked click label",
    ),
    "time": (
        "timestamp eventtimestamp eventtime unixreviewtime tdat vtime datetime dateadded "
        "reviewtime invoicedate orderdate orderedat purchasedate purchasedat playedat zeitstempel "
        "zeitpunkt bestelldatum kaufdatum fechacompra fechapedido datecommande "
        "时间 日期 时间戳 下单时间 评论时间 点击时间",
        "time date createdat created ts when starttime datum zeit fecha data",
    ),
    "known": (
        "eventtimestamp released releasedate daterelease launched published publisheddate "
        "publicationdate addedat launchdate listedat yelpingsince registeredat signupdate joined "
        "releasedat erscheinungsdatum veroffentlicht registriertam fechapublicacion fechaalta "
        "datepublication 发布时间 上架时间 出版日期 注册时间",
        "createdat created updatedat",
    ),
    "type": (
        "eventtype event action actiontype behavior behaviortype behaviour interactiontype "
        "ereignis aktion evento tipoevento 行为 行为类型 动作",
        "",
    ),
    "event": (
        "reviewid eventid interactionid transactionid orderid purchaseid ratingid orderno "
        "ordernumber bestellid bestellnummer idpedido idcommande 订单号 订单id",
        "invoiceno invoiceid id",
    ),
    "list": (
        "genres genre categories tags tag keywords keyword topics subjects themes labels "
        "ingredients colours colors languages features amenities cuisines skills styles moods "
        "kategorien schlagworte schlagworter themen zutaten farben generos categorias etiquetas "
        "temas ingredientes mots motscles sujets generi categorie 标签 分类 类别 关键词",
        "",
    ),
}
_STRENGTHS = {
    role: {name: strength for strength, names in ((1, vague), (2, clear)) for name in names.split()}
    for role, (clear, vague) in _HINTS.items()
}
# What is counted from events to come must be no feature of an item or user.
_COUNTED = re.compile(
    r"(count|average|avg|mean|rating|stars|score|popular|reviews|votes|ratio|rank|likes|fans"
    r"|useful|funny|views|sales|sold|purchases|helpful|playtime|products)",
    re.IGNORECASE,
)
_CODE = re.compile(r"(id|code|no|number|zip|postal_?code|channel|type|group|level|flag)$", re.I)
_ACCENTS = re.compile(r"[\u0300-\u036f]")


def plain(name: str) -> str:
    """A name in small letters without accents, and without what stands between its words.

    >>> plain("Customer_ID"), plain("用户 ID"), plain("Título")
    ('customerid', '用户id', 'titulo')
    """
    letters = _ACCENTS.sub("", unicodedata.normalize("NFKD", name.lower()))
    return re.sub(r"[\W_]", "", letters)


def hint_of(name: str, role: str) -> int:
    """How clearly a name says that a column has a role: 2 clearly, 1 vaguely, 0 not at all.

    >>> hint_of("Title", "title"), hint_of("description", "title"), hint_of("price", "title")
    (2, 1, 0)
    """
    return _STRENGTHS[role].get(plain(name), 0)


def is_counted(name: str) -> bool:
    """Whether a name says that a number was counted over events."""
    return _COUNTED.search(name) is not None


def is_code(name: str) -> bool:
    """Whether a name says that numbers are names: ids, codes, types.

    >>> is_code("department_no"), is_code("price")
    (True, False)
    """
    return _CODE.search(name) is not None
