-- 0002_archive.sql - rules number 2: what Redis has forgotten stays here, and is known to be forgotten.
--
-- orders.remembered = 2: archived.  Redis remembered the order until the command at changed_offset, an
-- archive, and never decides one of that item again.  items.state a: archived; nothing changes it any
-- more, and marks pass over it.  Both stay in these tables for ever.
--
-- Once Redis has forgotten an order, its id may come again with another item (only a forged record
-- does that: ids are made from the item), so the item is part of an order's key.

ALTER TABLE orders
    DROP PRIMARY KEY,
    ADD PRIMARY KEY (order_id, user_id, item_id),
    DROP CONSTRAINT orders_remembered,
    ADD CONSTRAINT orders_remembered CHECK (remembered IN (0, 1, 2));

ALTER TABLE items
    DROP CONSTRAINT items_state,
    ADD CONSTRAINT items_state CHECK (state IN ('o', 'p', 'c', 'a'));
