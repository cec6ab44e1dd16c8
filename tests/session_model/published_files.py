"""Lines made by hand in the form of each published file."""

from session_model.data.formats import DataFormat

RSC15_CLICKS = """\
1,2014-04-07T10:51:09.277Z,214536502,0
1,2014-04-07T10:54:09.868Z,214536500,S
2,2014-04-07T10:52:00.000Z,214536500,0
"""
RSC15_BUYS = "2,2014-04-07T11:00:00.000Z,214536500,12462,1\n1,2014-04-07T10:55:00.000Z,214536500,0,1\n"
DIGINETICA_VIEWS = """\
sessionId;userId;itemId;timeframe;eventdate
1;NA;81766;526309;2016-05-09
1;NA;31331;1031018;2016-05-09
2;17;32118;243569;2016-05-10
"""
DIGINETICA_PURCHASES = "sessionId;userId;timeframe;eventdate;ordernumber;itemId\n2;17;300000;2016-05-10;16421;32118\n"
RETAILROCKET_EVENTS = """\
timestamp,visitorid,event,itemid,transactionid
1433221332117,257597,view,355908,
1433224214164,257597,addtocart,248676,
1433224214165,992329,view,248676,
1433223132117,257597,transaction,248676,4000
"""
REES46_EVENTS = """\
event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session
2019-10-01 00:00:00 UTC,view,44600062,2103807459595387724,,shiseido,35.79,541312140,72d76fde
2019-10-01 00:00:05 UTC,cart,44600062,2103807459595387724,,shiseido,35.79,541312140,72d76fde
2019-10-01 00:00:09 UTC,remove_from_cart,44600062,2103807459595387724,,,35.79,541312140,72d76fde
2019-10-01 00:00:01 UTC,purchase,3900821,2053013552326770905,,aqua,,554748717,9333dfbd
"""
OTTO_SESSIONS = """\
{"session":0,"events":[{"aid":1517085,"ts":1659304800025,"type":"clicks"},{"aid":1563459,"ts":1659304904511,"type":"carts"}]}
{"session":1,"events":[{"aid":424964,"ts":1659304800000,"type":"orders"}]}
"""
COVEO_EVENTS = """\
session_id_hash,event_type,product_action,product_sku_hash,server_timestamp_epoch_ms,hashed_url
s1,pageview,,,1550885210881,u1
s1,event_product,detail,p1,1550885213307,u1
s1,event_product,add,p1,1550885215307,u1
s1,event_product,purchase,p1,1550885218307,u1
s1,event_product,click,p2,1550885218907,u1
"""
TAOBAO_EVENTS = """\
1,2268318,2520377,pv,1511544070
1,2268318,2520377,cart,1511544080
1,2333346,2520771,fav,1511561733
2,2576651,149192,buy,1511572885
"""
TMALL_EVENTS = """\
user_id,item_id,cat_id,seller_id,brand_id,time_stamp,action_type
328862,323294,833,2882,2661.0,829,0
328862,844400,1271,2882,2661.0,829,2
328862,575153,1271,2882,2661.0,1111,3
"""
HM_TRANSACTIONS = """\
t_dat,customer_id,article_id,price,sales_channel_id
2018-09-20,000058a1,0663713001,0.0508,2
2018-09-20,000058a1,0541518023,0.0304,2
2018-09-21,000058a1,0505221004,,2
"""
INSTACART_PRODUCTS = """\
order_id,product_id,add_to_cart_order,reordered
2,28985,2,1
2,33120,1,1
3,33754,1,1
"""
CRITEO_CLICKS = "".join(
    "\t".join([*first, *["-1"] * 13, item, "t", "p", user]) + "\n"
    for first, item, user in (
        (["0", "-1.0", "-1", "1598891820", "0", "9.5"], "i1", "u1"),
        (["1", "21.5", "600", "1598891920", "0", "0.0"], "i2", "u1"),
    )
)
FIRST_FILES: dict[DataFormat, tuple[str, str]] = {
    "rsc15": ("yoochoose-clicks.dat", RSC15_CLICKS),
    "diginetica": ("train-item-views.csv", DIGINETICA_VIEWS),
    "retailrocket": ("events.csv", RETAILROCKET_EVENTS),
    "rees46": ("2019-Oct.csv", REES46_EVENTS),
    "otto": ("otto-recsys-train.jsonl", OTTO_SESSIONS),
    "coveo": ("browsing_train.csv", COVEO_EVENTS),
    "taobao": ("UserBehavior.csv", TAOBAO_EVENTS),
    "tmall": ("user_log_format1.csv", TMALL_EVENTS),
    "hm": ("transactions_train.csv", HM_TRANSACTIONS),
    "instacart": ("order_products__prior.csv", INSTACART_PRODUCTS),
    "criteo": ("CriteoSearchData", CRITEO_CLICKS),
}
