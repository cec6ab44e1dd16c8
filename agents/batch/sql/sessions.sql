-- Features of a session, one row each; `purchased` is what an intent model learns. Sessions of bots are left out.
SELECT
  id,
  visitor_key,
  session_id,
  started_at,
  ended_at,
  event_count,
  (unix_millis(ended_at) - unix_millis(started_at)) / 1000                    AS seconds,
  hour(started_at)                                                            AS start_hour,
  dayofweek(started_at)                                                       AS start_day,
  size(array_distinct(transform(filter(events, e -> e.item_id IS NOT NULL), e -> e.item_id))) AS distinct_items,
  size(filter(events, e -> e.event_type = 'view'))                            AS views,
  size(filter(events, e -> e.event_type = 'search'))                          AS searches,
  size(filter(events, e -> e.event_type = 'cart'))                            AS carts,
  size(filter(events, e -> e.event_type = 'remove'))                          AS removes,
  exists(events, e -> e.event_type = 'purchase')                              AS purchased,
  array_max(transform(events, e -> e.price))                                  AS highest_price,
  location,
  device
FROM sessions
WHERE NOT is_bot
