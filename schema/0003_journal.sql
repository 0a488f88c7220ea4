-- 0003_journal.sql - one row for each movement of stock, where there were two.
--
-- A row of stock_ledger and one of tcc_log told the same event.  The journal has it once; what moved,
-- and whether it was a try, a confirm or a cancel, follows from its cause.  0004 makes the two views.

CREATE TABLE IF NOT EXISTS journal (
    partition_id SMALLINT UNSIGNED NOT NULL,
    log_offset   BIGINT NOT NULL,
    event_index  SMALLINT UNSIGNED NOT NULL,
    cause        ENUM('added', 'removed', 'reserved', 'paid', 'late', 'cancelled', 'expired') NOT NULL,
    item_id      VARBINARY(64) NOT NULL,
    order_id     VARBINARY(36) NOT NULL DEFAULT '',
    user_id      VARBINARY(64) NOT NULL DEFAULT '',
    qty          BIGINT NOT NULL,
    log_time     BIGINT NOT NULL,
    PRIMARY KEY (partition_id, log_offset, event_index),
    CONSTRAINT journal_qty CHECK (qty > 0)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Of a late payment tcc_log has a try and a confirm; of the other events one row, of stock none.
INSERT INTO journal (partition_id, log_offset, event_index, cause, item_id, order_id, user_id, qty, log_time)
SELECT l.partition_id, l.log_offset, l.event_index,
       CASE WHEN l.from_account = 'supply' THEN 'added' WHEN l.to_account = 'supply' THEN 'removed' ELSE t.cause END,
       l.item_id, l.order_id, COALESCE(t.user_id, ''), l.qty, COALESCE(t.log_time, o.log_time)
FROM stock_ledger l
LEFT JOIN tcc_log t ON t.partition_id = l.partition_id AND t.log_offset = l.log_offset
    AND t.event_index = l.event_index AND NOT (t.phase = 'try' AND t.cause = 'late')
LEFT JOIN operations o ON o.partition_id = l.partition_id AND o.log_offset = l.log_offset
ON DUPLICATE KEY UPDATE qty = VALUES(qty);
