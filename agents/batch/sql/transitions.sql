-- What follows what: pairs of items that were looked at one after the other, at least twice.
SELECT item_id, next_item_id, count(*) AS sessions
FROM (
  SELECT id, item_id, lead(item_id) OVER (PARTITION BY id ORDER BY position) AS next_item_id
  FROM events
  WHERE event_type = 'view'
)
WHERE next_item_id IS NOT NULL AND next_item_id <> item_id
GROUP BY item_id, next_item_id
HAVING count(*) >= 2
ORDER BY sessions DESC, item_id, next_item_id
