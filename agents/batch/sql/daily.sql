-- Statistics of a day: how much there was, and how much of it can be learned from.
-- A session counts for the day (UTC) on which it ended.
SELECT
  to_date(ended_at)                                                           AS day,
  count_if(NOT is_bot)                                                        AS sessions,
  count_if(is_bot)                                                            AS bot_sessions,
  count(DISTINCT CASE WHEN NOT is_bot THEN visitor_key END)                   AS visitors,
  sum(CASE WHEN NOT is_bot THEN event_count ELSE 0 END)                       AS events,
  avg(CASE WHEN NOT is_bot THEN event_count END)                              AS mean_events,
  avg(CASE WHEN NOT is_bot THEN (unix_millis(ended_at) - unix_millis(started_at)) / 1000 END) AS mean_seconds,
  count_if(NOT is_bot AND exists(events, e -> e.event_type = 'purchase'))     AS sessions_with_purchase,
  sum(CASE WHEN NOT is_bot
      THEN aggregate(filter(events, e -> e.event_type = 'purchase'), 0D, (sum, e) -> sum + coalesce(e.price, 0D))
      ELSE 0D END)                                                            AS revenue
FROM sessions
GROUP BY to_date(ended_at)
ORDER BY day
