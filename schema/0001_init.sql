-- 0001_init.sql - the record: what the guardian keeps of each partition, at one position of its log.
--
-- Rows and position change in one transaction, so at any moment these tables are the fold of a
-- prefix of every partition's log.  All that Redis holds at that position can be derived from them:
-- items; orders where remembered = 1, by decided_offset within (partition, user); payments, the
-- first eight of a known order being those listed with it; operations; the set of hold_ms in order
-- of first use (operations.hold_ms by log_offset); genesis, chain, rules and log time (progress).
-- Only last_hash, the hash of the last record, is not here: it is that record's, in the orders
-- topic.
--
-- Runs unchanged on MySQL 8.4 and MariaDB 10.11.  Ids are VARBINARY, so that they compare byte by
-- byte, as in Redis and in the log.  Times are milliseconds since 1970; *_at columns of the log's
-- own clock are log time.  A migration is never edited after its release; each statement may be
-- run again after a crash, and ends with a semicolon at the end of its line.

CREATE TABLE IF NOT EXISTS progress (
    partition_id    SMALLINT UNSIGNED NOT NULL,
    position        BIGINT NOT NULL DEFAULT -1,         -- offset of the last command applied
    genesis         VARBINARY(32) NOT NULL DEFAULT '',  -- the log id; empty before the first record
    chain           VARBINARY(16) NOT NULL DEFAULT '',  -- after that command, 16 hex digits
    partitions      SMALLINT UNSIGNED NOT NULL DEFAULT 0,
    rules           INT NOT NULL DEFAULT 0,
    log_time        BIGINT NOT NULL DEFAULT 0,
    outcomes_offset BIGINT NOT NULL DEFAULT -1,         -- where that command's outcome was read
    updated_at      TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3),
    PRIMARY KEY (partition_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- The last promise stands here: whatever the programs do, the server refuses an oversold item.
CREATE TABLE IF NOT EXISTS items (
    item_id        VARBINARY(64) NOT NULL,
    partition_id   SMALLINT UNSIGNED NOT NULL,
    total          BIGINT NOT NULL,
    available      BIGINT NOT NULL,
    held           BIGINT NOT NULL,
    sold           BIGINT NOT NULL,
    item_limit     INT NOT NULL,
    hold_ms        BIGINT NOT NULL,
    opens_at       BIGINT NOT NULL,
    closes_at      BIGINT NOT NULL,
    state          CHAR(1) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,  -- o open, p paused, c closed
    price          BIGINT NOT NULL,
    created_offset BIGINT NOT NULL,
    config_offset  BIGINT NOT NULL,  -- the last stock event
    changed_offset BIGINT NOT NULL,  -- the last event of any kind
    PRIMARY KEY (item_id),
    KEY items_by_partition (partition_id),
    CONSTRAINT items_conserved CHECK (total = available + held + sold),
    CONSTRAINT items_not_negative CHECK (total >= 0 AND available >= 0 AND held >= 0 AND sold >= 0),
    CONSTRAINT items_not_oversold CHECK (held + sold <= total),
    CONSTRAINT items_state CHECK (state IN ('o', 'p', 'c'))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Every decided order.  remembered = 0: a rejection that the rules forget (unkeyed, or the user had
-- 64 orders); its id may be decided once more, and the later decision then stands here.
CREATE TABLE IF NOT EXISTS orders (
    order_id       VARBINARY(36) NOT NULL,
    user_id        VARBINARY(64) NOT NULL,
    partition_id   SMALLINT UNSIGNED NOT NULL,
    item_id        VARBINARY(64) NOT NULL,
    qty            INT NOT NULL,
    state          CHAR(1) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,  -- H R P C E, as in Redis
    reason         TINYINT UNSIGNED NOT NULL,   -- of a rejection; docs/protocol.md section 4
    remembered     TINYINT UNSIGNED NOT NULL,
    due            BIGINT NOT NULL,             -- 0 when it was never held; kept afterwards
    decided_offset BIGINT NOT NULL,             -- the command that decided it
    changed_offset BIGINT NOT NULL,             -- the command that set its present state
    decided_at     BIGINT NOT NULL,             -- log times of those two
    changed_at     BIGINT NOT NULL,
    PRIMARY KEY (order_id, user_id),
    KEY orders_by_user (user_id, partition_id, decided_offset),
    KEY orders_by_item (partition_id, item_id, state, remembered, qty),
    CONSTRAINT orders_state CHECK (state IN ('H', 'R', 'P', 'C', 'E')),
    CONSTRAINT orders_remembered CHECK (remembered IN (0, 1)),
    CONSTRAINT orders_rejected CHECK ((state = 'R') = (reason > 0)),
    CONSTRAINT orders_qty CHECK (qty > 0)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Double entry: each movement of stock takes qty from one account and puts it into another.  The
-- balance of an item's account (what was put in less what was taken out) is its counter in items;
-- supply stands for the world, and its balance is -total.
CREATE TABLE IF NOT EXISTS stock_ledger (
    partition_id SMALLINT UNSIGNED NOT NULL,
    log_offset   BIGINT NOT NULL,
    event_index  SMALLINT UNSIGNED NOT NULL,
    item_id      VARBINARY(64) NOT NULL,
    order_id     VARBINARY(36) NOT NULL DEFAULT '',
    from_account ENUM('supply', 'available', 'held', 'sold') NOT NULL,
    to_account   ENUM('supply', 'available', 'held', 'sold') NOT NULL,
    qty          BIGINT NOT NULL,
    PRIMARY KEY (partition_id, log_offset, event_index),
    CONSTRAINT stock_ledger_qty CHECK (qty > 0),
    CONSTRAINT stock_ledger_accounts CHECK (from_account <> to_account)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Each reservation as try / confirm / cancel; a late payment is a try and a confirm at once.
CREATE TABLE IF NOT EXISTS tcc_log (
    partition_id SMALLINT UNSIGNED NOT NULL,
    log_offset   BIGINT NOT NULL,
    event_index  SMALLINT UNSIGNED NOT NULL,
    phase        ENUM('try', 'confirm', 'cancel') NOT NULL,
    order_id     VARBINARY(36) NOT NULL,
    user_id      VARBINARY(64) NOT NULL,
    cause        ENUM('reserved', 'paid', 'late', 'cancelled', 'expired') NOT NULL,
    log_time     BIGINT NOT NULL,
    PRIMARY KEY (partition_id, log_offset, event_index, phase)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- The one answer that each payment id ever gets.
CREATE TABLE IF NOT EXISTS payments (
    partition_id SMALLINT UNSIGNED NOT NULL,
    payment_id   VARBINARY(64) NOT NULL,
    order_id     VARBINARY(36) NOT NULL,
    user_id      VARBINARY(64) NOT NULL DEFAULT '',  -- empty: the command named none
    answer       ENUM('paid', 'refund_due') NOT NULL,
    reason       TINYINT UNSIGNED NOT NULL,          -- 0 when paid
    late         TINYINT UNSIGNED NOT NULL,          -- paid after the hold had lapsed
    log_offset   BIGINT NOT NULL,
    log_time     BIGINT NOT NULL,
    PRIMARY KEY (partition_id, payment_id),
    KEY payments_by_order (order_id, user_id, log_offset),
    CONSTRAINT payments_reason CHECK ((answer = 'paid') = (reason = 0))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Operations on sales, remembered whatever came of them.  The numbers are the item's after it;
-- absent when it was refused.
CREATE TABLE IF NOT EXISTS operations (
    partition_id SMALLINT UNSIGNED NOT NULL,
    op_id        VARBINARY(64) NOT NULL,
    item_id      VARBINARY(64) NOT NULL,
    log_offset   BIGINT NOT NULL,
    log_time     BIGINT NOT NULL,
    reason       TINYINT UNSIGNED NOT NULL,  -- 0: done
    action       VARBINARY(16),
    state        CHAR(1) CHARACTER SET ascii COLLATE ascii_bin,
    total        BIGINT,
    available    BIGINT,
    held         BIGINT,
    sold         BIGINT,
    item_limit   INT,
    hold_ms      BIGINT,
    opens_at     BIGINT,
    closes_at    BIGINT,
    price        BIGINT,
    PRIMARY KEY (partition_id, op_id),
    KEY operations_by_offset (partition_id, log_offset)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- One row per mark met: Redis's counters as the mark told them, compared with these tables at the
-- mark's position.  Who verifies the chain needs chain_before and the mark's raw record.
CREATE TABLE IF NOT EXISTS reconcile_runs (
    run_id         VARBINARY(64) NOT NULL,
    partition_id   SMALLINT UNSIGNED NOT NULL,
    log_offset     BIGINT NOT NULL,
    log_time       BIGINT NOT NULL,
    clean          TINYINT UNSIGNED NOT NULL,  -- 1 clean, 0 different, 2 could not be compared
    redis_orders   BIGINT NOT NULL,
    mysql_orders   BIGINT NOT NULL,
    redis_payments BIGINT NOT NULL,
    mysql_payments BIGINT NOT NULL,
    items          INT NOT NULL,
    differences    INT NOT NULL,
    detail         TEXT NOT NULL,  -- the first differences, a line each
    chain_before   VARBINARY(16) NOT NULL,
    chain          VARBINARY(16) NOT NULL,
    created_at     TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
    PRIMARY KEY (run_id, partition_id, log_offset),
    KEY reconcile_runs_by_time (created_at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
