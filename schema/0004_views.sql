-- 0004_views.sql - stock_ledger and tcc_log are views of the journal, with the columns that they had.

DROP TABLE IF EXISTS tcc_log;
DROP TABLE IF EXISTS stock_ledger;

-- Double entry: each movement takes qty from one account and puts it into another.  The balance of an
-- item's account (what was put in less what was taken out) is its counter in items; supply stands for
-- the world, and its balance is -total.
CREATE OR REPLACE SQL SECURITY INVOKER VIEW stock_ledger AS
SELECT partition_id, log_offset, event_index, item_id, order_id,
       CASE cause WHEN 'added' THEN 'supply' WHEN 'removed' THEN 'available' WHEN 'reserved' THEN 'available'
                  WHEN 'late' THEN 'available' ELSE 'held' END AS from_account,
       CASE cause WHEN 'removed' THEN 'supply' WHEN 'reserved' THEN 'held' WHEN 'paid' THEN 'sold'
                  WHEN 'late' THEN 'sold' ELSE 'available' END AS to_account,
       qty
FROM journal;

-- Each reservation as try / confirm / cancel; a late payment is a try and a confirm at once.
CREATE OR REPLACE SQL SECURITY INVOKER VIEW tcc_log AS
SELECT partition_id, log_offset, event_index, 'try' AS phase, order_id, user_id, cause, log_time
FROM journal WHERE cause IN ('reserved', 'late')
UNION ALL
SELECT partition_id, log_offset, event_index, 'confirm', order_id, user_id, cause, log_time
FROM journal WHERE cause IN ('paid', 'late')
UNION ALL
SELECT partition_id, log_offset, event_index, 'cancel', order_id, user_id, cause, log_time
FROM journal WHERE cause IN ('cancelled', 'expired');
