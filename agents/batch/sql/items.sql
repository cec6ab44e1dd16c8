-- Features of an item: how it is looked at, put into carts and bought. Sessions of bots are left out.
SELECT
  item_id,
  count_if(event_type = 'view')                                               AS views,
  count_if(event_type = 'cart')                                               AS carts,
  count_if(event_type = 'remove')                                             AS removes,
  count_if(event_type = 'purchase')                                           AS purchases,
  count(DISTINCT id)                                                          AS sessions,
  count(DISTINCT visitor_key)                                                 AS visitors,
  count(DISTINCT CASE WHEN event_type = 'purchase' THEN id END) / count(DISTINCT id) AS purchases_a_session,
  avg(price)                                                                  AS mean_price,
  min(event_at)                                                               AS first_seen,
  max(event_at)                                                               AS last_seen
FROM events
WHERE item_id IS NOT NULL
GROUP BY item_id
ORDER BY views DESC, item_id
