--[[
apply.lua - applies a batch of commands to one partition's state: all of it or nothing.

KEYS  1 log  2 items  3 orders  4 payments  5 ops  6 outbox  7 due (base of the due lists' names)  8 rebuild
ARGV  1 rules  2 genesis  3 prev  4 chain  5 to  6 chain after  7 last hash after  8 acked
      9 outbox bound  10 remembered bound  11 number of commands  12.. commands
Reply one string: `ok ...`, `position ...`, `absent`, `rules n`, `full what`, `corrupt text` or `bad text`.

docs/protocol.md holds the contract (section 6) and the rules, numbers 1 and 2 (section 4).

A script is atomic but is not rolled back, so it has two halves.  The first reads, checks and
computes in Lua tables, and may stop anywhere.  The second writes, with commands that cannot fail:
every key has been read with a command of its type by then, and the first write is one that Redis
refuses when it is out of memory.  No clock and no random number is read: the same commands
give the same answer, however they are cut into batches.
]]
local RULES = {['1'] = {}, ['2'] = {archives = true}} -- what each number knows
local EXPIRE_MAX = 64 -- holds expired per command, besides a lapsed one that is paid or cancelled
local ORDERS_MAX = 64 -- orders remembered per user
local LISTED_MAX = 8 -- payments listed per order
local ITEMS_MAX = 4096
local HOLDS_MAX = 64
local TOTAL_MAX = 1000000000
local CHUNK = 4000 -- arguments per call; unpack() ends at 8,000
local DUE_CHUNK = 200
local FIRST = 12 -- argument

-- Only ever written, so they are texts.
local SOLD_OUT, LIMIT_REACHED, NOT_OPEN, CLOSED, PAUSED, TIMED_OUT, UNKNOWN_ITEM = '1', '2', '3', '4', '5', '6', '7'
local UNKNOWN_ORDER, ALREADY_PAID, ALREADY_CANCELLED, ALREADY_REJECTED, EXPIRED = '8', '9', '10', '11', '12'
local BELOW_COMMITTED, BAD_OPERATION, MALFORMED = '13', '14', '15'

-- Letter of a command: how many arguments it has, with itself, offset and timestamp.
local SIZE = {G = 6, V = 4, S = 12, R = 6, O = 9, P = 6, C = 5, T = 3, M = 3, A = 6, X = 3}

-- The state that an action leaves the item in; `change` leaves it as it is.
local ACTION = {open = 'o', change = '', pause = 'p', resume = 'o', close = 'c'}

local call, find, match, sub = redis.call, string.find, string.match, string.sub
local format, concat, gmatch, max = string.format, table.concat, string.gmatch, math.max
local type, tonumber = type, tonumber -- a global costs a look-up each time

local argv = ARGV
local caller_rules, genesis, prev, chain = argv[1], argv[2], argv[3], argv[4]
local to, chain_after, hash_after = argv[5], argv[6], argv[7]
local count

-- The caller broke the contract.
local function bad(text)
    error({word = 'bad', text = text})
end

-- What stands in Redis is no state that these rules lead to.
local function corrupt(text)
    error({word = 'corrupt', text = text})
end

-- tonumber() also takes ` 7 `, `07`, `0x10`, `1e3`, `nan` and `inf`, and some numbers are stored as they came.
local function is_plain(s)
    return find(s, '^[1-9]%d*$') or s == '0'
end

-- A batch has few different numbers, so what was checked is kept.
local numbers = {}
local function number(s)
    local n = numbers[s]
    if not n then
        n = tonumber(s)
        if not n or n >= 9007199254740992 or not is_plain(s) then
            bad('not a number: ' .. tostring(s))
        end
        numbers[s] = n
    end
    return n
end

-- One that stands in the log, under this name.
local function logged(name, s)
    local n = s and is_plain(s) and tonumber(s)
    if not n or n >= 9007199254740992 then
        corrupt('log: ' .. name)
    end
    return n
end

-- Concatenation would write 14 digits of a number, and take twice as long; times and offsets may have 16.
local texts = {}
local function digits(n)
    local text = texts[n]
    if not text then
        text = format('%d', n)
        texts[n] = text
    end
    return text
end

local log -- the state's numbers
local trim = 0 -- outbox entries that are acknowledged
local oldest -- prev of the oldest entry that stays
local entries -- how many stay

local lines = {}
local event, events -- of the command at hand: the first, and a list of all once there are more
local log_time

local function emit(text)
    if not event then
        event = text
    elseif not events then
        events = {event, text}
    else
        events[#events + 1] = text
    end
end

----------------------------------------------------------------------------------------------------
-- The state, read when first needed and kept in tables until the end.

local items = {} -- item_id -> item, or false when there is none
local dirty_items = {}

local function parse_item(id, raw)
    local total, available, held, sold, limit, hold_ms, opens_at, closes_at, state, price =
        match(raw, '^(%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+) ([opca]) (%d+)$')
    if not total then
        corrupt('item ' .. id)
    end
    return {id = id, total = tonumber(total), available = tonumber(available), held = tonumber(held),
            sold = tonumber(sold), limit = tonumber(limit), hold_ms = tonumber(hold_ms),
            opens_at = tonumber(opens_at), closes_at = tonumber(closes_at), state = state,
            price = tonumber(price)}
end

local function format_item(it)
    return concat({it.total, it.available, it.held, it.sold, it.limit, it.hold_ms, digits(it.opens_at),
                   digits(it.closes_at), it.state, digits(it.price)}, ' ')
end

local function item(id)
    local it = items[id]
    if it == nil then
        local raw = call('HGET', KEYS[2], id)
        it = raw and parse_item(id, raw) or false
        items[id] = it
    end
    return it
end

-- Moves qty units of an item between available, held and sold.
local function move(it, from, into, qty)
    it[from] = it[from] - qty
    it[into] = it[into] + qty
    dirty_items[it.id] = it
end

-- user_id -> the orders in order of decision, there before any command may ask for them: a list, or the text as it
-- stands in Redis, or false when there are none.  Most users come once, and their text is never taken apart.
local users = {}
local dirty_users = {}

local function parse_orders(user, raw)
    local list = {}
    for entry in gmatch(raw, '[^;]+') do
        local id, item_id, qty, state, reason, due, offset, payments =
            match(entry, '^(%S+) (%S+) (%d+) ([HRPCE]) (%d+) (%d+) (%d+) (%S+)$')
        if not id then
            corrupt('orders of ' .. user)
        end
        list[#list + 1] = {id = id, item_id = item_id, qty = tonumber(qty), state = state, reason = reason,
                           due = tonumber(due), offset = offset, payments = payments}
    end
    return list
end

local NONE = {}

-- The list of a user's orders; not to be added to.
local function orders_of(user)
    local known = users[user]
    if not known then
        return NONE
    end
    if type(known) == 'string' then
        known = parse_orders(user, known)
        users[user] = known
    end
    return known
end

-- Adds an order at the end; orders_of() was asked before.
local function remember(user, id, item_id, qty, state, reason, due, offset)
    local entry = id .. ' ' .. item_id .. ' ' .. qty .. ' ' .. state .. ' ' .. reason .. ' ' .. due .. ' ' .. offset ..
                  ' -'
    local list = users[user]
    if list then
        list[#list + 1] = parse_orders(user, entry)[1]
    else
        users[user] = entry
    end
    dirty_users[user] = true
    log.orders = log.orders + 1
end

local function format_orders(user)
    local list, out = users[user], {}
    if type(list) == 'string' then
        return list
    end
    for i = 1, #list do
        local o = list[i]
        out[i] = o.id .. ' ' .. o.item_id .. ' ' .. o.qty .. ' ' .. o.state .. ' ' .. o.reason .. ' ' .. digits(o.due) ..
                 ' ' .. o.offset .. ' ' .. o.payments
    end
    return out[2] and concat(out, ';') or out[1]
end

-- Reads fields of a hash into known, in as few calls as unpack() allows; missing ones become false.
local function read_fields(key, fields, known)
    for first = 1, #fields, CHUNK do
        local last = math.min(first + CHUNK - 1, #fields)
        local values = call('HMGET', key, unpack(fields, first, last))
        for i = first, last do
            known[fields[i]] = values[i - first + 1]
        end
    end
end

local function find_order(list, id)
    for i = 1, #list do
        if list[i].id == id then
            return list[i]
        end
    end
    return nil
end

-- The units of an item that a user holds or has bought.
local function committed(list, item_id)
    local sum = 0
    for i = 1, #list do
        local o = list[i]
        if o.item_id == item_id and (o.state == 'H' or o.state == 'P') then
            sum = sum + o.qty
        end
    end
    return sum
end

local payments = {} -- payment_id -> value, false when unknown
local dirty_payments = {}
local ops = {} -- op_id -> value, false when unknown
local dirty_ops = {}

----------------------------------------------------------------------------------------------------
-- The due lists.  Each is in due order, because its hold_ms is constant and log time never falls.

local lists = {} -- {key, taken, buffer, at, whole, pushed, pushed_at}
local list_of = {} -- hold_ms in text -> list
local next_list, next_due, next_offset -- the earliest entry of all
local last_time = 0 -- log time at the end of the batch: what may fall due in it

local function parse_due(entry)
    local due, offset, order_id, user = match(entry, '^(%d+) (%d+) (%S+) (%S+)$')
    if not due then
        corrupt('due list')
    end
    return {due = tonumber(due), offset = offset, order_id = order_id, user = user, text = entry}
end

-- Whether an order is among a user's remembered ones and no longer held; it never will be again.
local function is_over(raw, id)
    local at = sub(raw, 1, #id + 1) == id .. ' ' and 1 or find(raw, ';' .. id .. ' ', 1, true)
    local state = at and match(raw, '^;?%S+ %S+ %d+ (%u)', at)
    return state and state ~= 'H'
end

-- When a whole sale falls due at once, nearly all of it is paid.  Keeping those users, too, took 800 bytes of Lua each,
-- which maxmemory does not count.
local function sort_out(names, due)
    local values = call('HMGET', KEYS[3], unpack(names))
    for i = 1, #names do
        local name, raw = names[i], values[i]
        if raw and is_over(raw, due[i].order_id) then
            due[i].is_over = true
        elseif not users[name] then
            users[name] = raw
        end
    end
end

local function load_due(list, many)
    local from = list.taken
    local raw = call('LRANGE', list.key, digits(from), digits(from + many - 1))
    local missing, entries_of = {}, {}
    list.buffer, list.at, list.whole = {}, 1, #raw < many
    for i = 1, #raw do
        local e = parse_due(raw[i])
        list.buffer[i] = e
        if e.due <= last_time and not users[e.user] then
            missing[#missing + 1] = e.user
            entries_of[#missing] = e
        end
    end
    if missing[1] then
        sort_out(missing, entries_of)
    end
end

local function head(list)
    if not list.buffer[list.at] and not list.whole then
        load_due(list, DUE_CHUNK)
    end
    local e = list.buffer[list.at] or list.pushed[list.pushed_at]
    if type(e) == 'string' then
        e = parse_due(e)
        list.pushed[list.pushed_at] = e
    end
    return e
end

local function choose_next()
    next_list, next_due, next_offset = nil, math.huge, 0
    for i = 1, #lists do
        local e = head(lists[i])
        if e and (e.due < next_due or e.due == next_due and tonumber(e.offset) < next_offset) then
            next_list, next_due, next_offset = lists[i], e.due, tonumber(e.offset)
        end
    end
end

local function take_next()
    local list = next_list
    local e = head(list)
    if list.buffer[list.at] then
        list.at = list.at + 1
        list.taken = list.taken + 1
    else
        list.pushed_at = list.pushed_at + 1
    end
    choose_next()
    return e
end

local function add_list(hold_ms)
    local list = {key = KEYS[7] .. ':' .. hold_ms, taken = 0, buffer = {}, at = 1, whole = false, pushed = {},
                  pushed_at = 1}
    lists[#lists + 1] = list
    list_of[hold_ms] = list
    return list
end

local function push_due(hold_ms, due, offset, text)
    local list = list_of[hold_ms]
    list.pushed[#list.pushed + 1] = text
    if due < next_due then -- a tie is behind: its offset is the larger one
        next_list, next_due, next_offset = list, due, tonumber(offset)
    end
end

----------------------------------------------------------------------------------------------------
-- The rules.

local function expire(o, user)
    local it = item(o.item_id)
    if not it then
        corrupt('no item ' .. o.item_id)
    end
    move(it, 'held', 'available', o.qty)
    o.state = 'E'
    dirty_users[user] = true
    emit(concat({'e', o.id, user, o.item_id, o.qty, it.available}, ' '))
end

local function expire_due()
    local expired = 0
    while next_due <= log_time and expired < EXPIRE_MAX do
        local e = take_next()
        local o = not e.is_over and find_order(orders_of(e.user), e.order_id)
        if o and o.state == 'H' and o.offset == e.offset then -- else the id was forgotten and came again
            expire(o, e.user)
            expired = expired + 1
        end
    end
end

local function lapse(o, user)
    if o.state == 'H' and o.due <= log_time then
        expire(o, user)
    end
end

local function refuse(reason)
    emit('x ' .. reason)
end

local function stock_event(it)
    emit('s ' .. format_item(it))
end

local function is_closed(it)
    return it.state == 'c' or it.state == 'a'
end

-- Why a sale may not take its new settings, or nil.
local function sale_fault(it, total, hold_ms, opens_at, closes_at)
    if total < it.held + it.sold then
        return BELOW_COMMITTED
    end
    if closes_at ~= 0 and closes_at <= opens_at then
        return BAD_OPERATION
    end
    if not list_of[digits(hold_ms)] and #lists >= HOLDS_MAX then
        return BAD_OPERATION
    end
    return nil
end

local function use_hold(hold_ms)
    local text = digits(hold_ms)
    if not list_of[text] then
        local list = add_list(text)
        if call('LLEN', list.key) > 0 then
            corrupt('a due list of an unused hold_ms')
        end
        list.whole = true
        log.holds = log.holds == '' and text or log.holds .. ',' .. text
    end
end

-- Sets what is given (nil: as it is), unless that would break a rule.
local function configure(it, given)
    local total = given.total or it.total
    local hold_ms = given.hold_ms or it.hold_ms
    local opens_at = given.opens_at or it.opens_at
    local closes_at = given.closes_at or it.closes_at
    local fault = sale_fault(it, total, hold_ms, opens_at, closes_at)
    if fault then
        return fault
    end
    it.total, it.available = total, total - it.held - it.sold
    it.hold_ms, it.opens_at, it.closes_at = hold_ms, opens_at, closes_at
    it.limit, it.price = given.limit or it.limit, given.price or it.price
    use_hold(hold_ms)
    return nil
end

local function open_item(id, given)
    if not (given.total and given.limit and given.hold_ms) or log.items >= ITEMS_MAX then
        return nil, BAD_OPERATION
    end
    local it = {id = id, total = 0, available = 0, held = 0, sold = 0, limit = 0, hold_ms = 0, opens_at = 0,
                closes_at = 0, state = 'o', price = 0}
    local fault = configure(it, given)
    if fault then
        return nil, fault
    end
    items[id] = it
    log.items = log.items + 1
    return it
end

local function sale_item(id, action, given)
    local it = item(id)
    if not it then
        if action == 'open' then
            return open_item(id, given)
        end
        return nil, UNKNOWN_ITEM
    end
    if is_closed(it) then
        return nil, CLOSED
    end
    local fault = nil
    if action == 'open' or action == 'change' then
        fault = configure(it, given)
    end
    if fault then
        return nil, fault
    end
    if ACTION[action] ~= '' then
        it.state = ACTION[action]
    end
    return it
end

-- True when op_id is new; then it is remembered.
local function first_time(op_id, item_id, offset)
    if ops[op_id] then
        emit('o')
        return false
    end
    ops[op_id] = item_id .. ' ' .. offset
    dirty_ops[op_id] = true
    return true
end

local function apply_sale(offset, op_id, id, action, given)
    if first_time(op_id, id, offset) then
        local it, fault = sale_item(id, action, given)
        if it then
            dirty_items[id] = it
            stock_event(it)
        else
            refuse(fault)
        end
    end
end

local function apply_restock(offset, op_id, id, qty)
    if not first_time(op_id, id, offset) then
        return
    end
    local it = item(id)
    if not it then
        refuse(UNKNOWN_ITEM)
    elseif is_closed(it) then
        refuse(CLOSED)
    elseif it.total + qty > TOTAL_MAX then
        refuse(BAD_OPERATION)
    else
        it.total, it.available = it.total + qty, it.available + qty
        dirty_items[id] = it
        stock_event(it)
    end
end

-- Forgets a user's orders of an item, none of which is held; returns how many.
local function forget(user, id)
    local list, kept = orders_of(user), {}
    for i = 1, #list do
        if list[i].item_id ~= id then
            kept[#kept + 1] = list[i]
        end
    end
    if #kept < #list then
        users[user] = kept
        dirty_users[user] = true
        log.orders = log.orders - (#list - #kept)
    end
    return #list - #kept
end

local function apply_archive(offset, op_id, id, named)
    if not first_time(op_id, id, offset) then
        return
    end
    local it = item(id)
    if not RULES[log.rules].archives then
        return refuse(BAD_OPERATION)
    elseif not it then
        return refuse(UNKNOWN_ITEM)
    elseif not is_closed(it) or it.held > 0 then
        return refuse(BAD_OPERATION)
    end
    if it.state ~= 'a' then
        it.state = 'a'
        log.items = log.items - 1
        dirty_items[id] = it
    end
    local forgotten = 0
    for user in gmatch(named, '[^,]+') do
        forgotten = forgotten + forget(user, id)
    end
    return emit(concat({'a', forgotten, it.total, it.sold}, ' '))
end

-- Why an order of qty units is rejected, or nil.
local function order_fault(it, list, qty, not_after)
    if not_after < log_time then
        return TIMED_OUT
    elseif not it then
        return UNKNOWN_ITEM
    elseif it.state == 'c' or it.closes_at ~= 0 and log_time >= it.closes_at then
        return CLOSED
    elseif log_time < it.opens_at then
        return NOT_OPEN
    elseif it.state == 'p' then
        return PAUSED
    elseif committed(list, it.id) + qty > it.limit then
        return LIMIT_REACHED
    elseif it.available < qty then
        return SOLD_OUT
    end
    return nil
end

local function apply_order(offset, id, item_id, user, qty_text, not_after, keyed)
    local list, qty = orders_of(user), numbers[qty_text]
    local o = find_order(list, id)
    if o then
        emit(concat({'d', o.item_id, o.qty, o.state, o.reason}, ' '))
        return
    end
    local it = item(item_id)
    if it and it.state == 'a' then -- it may have been decided and forgotten: this is no decision
        return refuse(CLOSED)
    end
    local available = it and it.available or 0
    if #list >= ORDERS_MAX then
        emit('-' .. LIMIT_REACHED .. ' ' .. digits(available))
        return
    end
    local fault = order_fault(it, list, qty, not_after)
    if fault then
        emit('-' .. fault .. ' ' .. digits(available))
        if keyed then
            remember(user, id, item_id, qty_text, 'R', fault, '0', offset)
        end
        return
    end
    local due = log_time + it.hold_ms
    local due_text = digits(due)
    move(it, 'available', 'held', qty)
    remember(user, id, item_id, qty_text, 'H', '0', due_text, offset)
    push_due(digits(it.hold_ms), due, offset, due_text .. ' ' .. offset .. ' ' .. id .. ' ' .. user)
    emit(format('%d', it.available) .. ' ' .. due_text)
end

-- Why an expired order's late payment cannot take stock again, or nil.
local function late_fault(it, user, qty)
    if is_closed(it) or it.closes_at ~= 0 and log_time >= it.closes_at then
        return CLOSED
    elseif it.state == 'p' then
        return PAUSED
    elseif committed(orders_of(user), it.id) + qty > it.limit then
        return LIMIT_REACHED
    elseif it.available < qty then
        return SOLD_OUT
    end
    return nil
end

-- Takes the money for order o if its state allows; returns why it must be given back, or nil.
local function pay_order(o, user)
    if not o then
        return UNKNOWN_ORDER
    end
    local again = {P = ALREADY_PAID, C = ALREADY_CANCELLED, R = ALREADY_REJECTED}
    if again[o.state] then
        return again[o.state]
    end
    local it = item(o.item_id)
    local late = o.state == 'E'
    local fault = late and late_fault(it, user, o.qty)
    if fault then
        return fault
    end
    move(it, late and 'available' or 'held', 'sold', o.qty)
    o.state = 'P'
    emit(concat({'p', o.item_id, o.qty, late and 1 or 0, it.available}, ' '))
    return nil
end

local function apply_pay(offset, id, user, payment_id)
    local known = payments[payment_id]
    if known then
        local answer, _, first = match(known, '^([PR]) (%d+) (%S+) %d+$')
        if not answer then
            corrupt('payment ' .. payment_id)
        end
        emit('D ' .. first .. ' ' .. answer)
        return
    end
    local o = find_order(orders_of(user), id)
    if o then
        lapse(o, user)
    end
    local fault = pay_order(o, user)
    if fault then
        emit('r ' .. fault)
    end
    local answer = fault and 'R' or 'P'
    if o then
        local _, separators = string.gsub(o.payments, ',', '')
        if o.payments == '-' then
            o.payments = answer .. payment_id
        elseif separators < LISTED_MAX - 1 then
            o.payments = o.payments .. ',' .. answer .. payment_id
        end
        dirty_users[user] = true
    end
    payments[payment_id] = concat({answer, fault or 0, id, offset}, ' ')
    dirty_payments[payment_id] = true
    log.payments = log.payments + 1
end

local function apply_cancel(id, user)
    local o = find_order(orders_of(user), id)
    if not o then
        return refuse(UNKNOWN_ORDER)
    end
    lapse(o, user)
    local fault = {P = ALREADY_PAID, C = ALREADY_CANCELLED, R = ALREADY_REJECTED, E = EXPIRED}
    if fault[o.state] then
        return refuse(fault[o.state])
    end
    local it = item(o.item_id)
    move(it, 'held', 'available', o.qty)
    o.state = 'C'
    dirty_users[user] = true
    return emit(concat({'c', o.item_id, o.qty, it.available}, ' '))
end

-- Strings compare by locale in Lua; this compares bytes.
local function bytes_less(a, b)
    for i = 1, math.min(#a, #b) do
        local x, y = string.byte(a, i), string.byte(b, i)
        if x ~= y then
            return x < y
        end
    end
    return #a < #b
end

local function apply_mark()
    local raw, ids = call('HGETALL', KEYS[2]), {}
    for i = 1, #raw, 2 do
        ids[#ids + 1] = raw[i]
        items[raw[i]] = items[raw[i]] or parse_item(raw[i], raw[i + 1])
    end
    table.sort(ids, bytes_less)
    local out = {'m ' .. log.orders .. ' ' .. log.payments}
    for i = 1, #ids do
        local it = items[ids[i]]
        if it.state ~= 'a' then
            out[#out + 1] = concat({it.id, it.total, it.available, it.held, it.sold}, ',')
        end
    end
    emit(concat(out, ' '))
end

local function optional(s)
    return s ~= '' and number(s) or nil
end

-- Each takes its offset and where its own arguments begin.
local RULE = {
    G = function(_, at)
        if log.genesis then
            return refuse(BAD_OPERATION)
        end
        log.genesis, log.partitions, log.rules = argv[at], argv[at + 1], argv[at + 2]
        return emit('g')
    end,
    V = function(_, at)
        log.rules = argv[at]
        emit('v')
    end,
    S = function(offset, at)
        apply_sale(offset, argv[at], argv[at + 1], argv[at + 2],
                   {total = optional(argv[at + 3]), limit = optional(argv[at + 4]), hold_ms = optional(argv[at + 5]),
                    opens_at = optional(argv[at + 6]), closes_at = optional(argv[at + 7]),
                    price = optional(argv[at + 8])})
    end,
    R = function(offset, at)
        apply_restock(offset, argv[at], argv[at + 1], number(argv[at + 2]))
    end,
    O = function(offset, at)
        apply_order(offset, argv[at], argv[at + 1], argv[at + 2], argv[at + 3], numbers[argv[at + 4]],
                    argv[at + 5] == '1')
    end,
    P = function(offset, at)
        apply_pay(offset, argv[at], argv[at + 1], argv[at + 2])
    end,
    C = function(_, at)
        apply_cancel(argv[at], argv[at + 1])
    end,
    T = function()
    end,
    M = apply_mark,
    A = function(offset, at)
        apply_archive(offset, argv[at], argv[at + 1], argv[at + 2])
    end,
    X = function()
        refuse(MALFORMED)
    end,
}

----------------------------------------------------------------------------------------------------
-- First half: read, check, compute.

local function position()
    return concat({'position', log.genesis, log.watermark, log.chain, log.rules, digits(log.log_time)}, ' ')
end

-- Reads the log's numbers; returns a reply when the batch is not for this state.
local function read_log()
    local v = call('HMGET', KEYS[1], 'genesis', 'partitions', 'rules', 'watermark', 'chain', 'log_time', 'items',
                   'orders', 'payments', 'holds')
    if v[4] then
        log = {genesis = v[1], partitions = v[2], rules = v[3], watermark = v[4], chain = v[5],
               log_time = logged('log_time', v[6]), items = logged('items', v[7]), orders = logged('orders', v[8]),
               payments = logged('payments', v[9]), holds = v[10]}
        if log.genesis ~= genesis or log.watermark ~= prev or log.chain ~= chain then
            return position()
        end
        if log.rules ~= caller_rules or not RULES[caller_rules] then
            return 'rules ' .. log.rules
        end
    else
        if prev ~= '-1' or count == 0 then
            return 'absent'
        end
        if not RULES[caller_rules] then
            bad('no such rules')
        end
        -- Keys without a watermark are no state, and whoever rebuilds it must not meet another's.
        if call('EXISTS', KEYS[8], unpack(KEYS, 1, 6)) > 0 then
            return 'absent'
        end
        log = {watermark = '-1', chain = chain, log_time = 0, items = 0, orders = 0, payments = 0, holds = ''}
    end
    return nil
end

-- An eviction, or a hand, takes keys away whole.  An item that is not there reads like one that never was, and its
-- orders would be rejected for ever.  Archived items are there and not counted.
local function check_whole()
    local known = call('HLEN', KEYS[2])
    if known < log.items then
        corrupt('items: ' .. known .. ' of ' .. log.items .. ' are there')
    end
    if (call('EXISTS', KEYS[3]) == 0) ~= (log.orders == 0) then
        corrupt('orders: the key is missing, or should be')
    end
    if (call('EXISTS', KEYS[4]) == 0) ~= (log.payments == 0) then
        corrupt('payments: the key is missing, or should be')
    end
    if log.items > 0 and call('EXISTS', KEYS[5]) == 0 then
        corrupt('ops: the key is missing')
    end
end

-- Finds the acknowledged entries at the outbox's head.
local function read_outbox()
    local acked = argv[8] == '-1' and -1 or number(argv[8])
    local length = call('LLEN', KEYS[6])
    oldest = nil
    while trim < length do
        local first_prev, last = match(call('LINDEX', KEYS[6], trim), '^(%-?%d+) (%d+) ')
        if not first_prev then
            corrupt('outbox')
        end
        if tonumber(last) > acked then
            oldest = first_prev
            break
        end
        trim = trim + 1
    end
    entries = length - trim
end

local wanted_users, wanted_payments, wanted_ops = {}, {}, {}

-- Notes a field to be read; false stands for it until then.
local function want(field, known, wanted)
    if known[field] == nil and field ~= '' then
        known[field] = false
        wanted[#wanted + 1] = field
    end
end

-- What is to be seen of each before any is applied, its numbers and what it will surely need; of `A`, all users named.
local CHECK = {
    G = function(at)
        number(argv[at + 1])
        number(argv[at + 2])
        if not log.genesis and at == FIRST + 3 and argv[at + 2] ~= caller_rules then
            bad('a log begins under the rules of its genesis')
        end
    end,
    V = function(at)
        number(argv[at])
        if argv[at + 1] then
            bad('cut: rules ends a batch')
        end
    end,
    S = function(at)
        if not ACTION[argv[at + 2]] then
            bad('no such action: ' .. argv[at + 2])
        end
        want(argv[at], ops, wanted_ops)
    end,
    R = function(at)
        number(argv[at + 2])
        want(argv[at], ops, wanted_ops)
    end,
    O = function(at)
        local qty, not_after, keyed = argv[at + 3], argv[at + 4], argv[at + 5]
        if not (numbers[qty] and numbers[not_after]) then
            number(qty)
            number(not_after)
        end
        if keyed ~= '0' and keyed ~= '1' then
            bad('keyed is neither 0 nor 1')
        end
        want(argv[at + 2], users, wanted_users)
    end,
    P = function(at)
        want(argv[at + 1], users, wanted_users)
        want(argv[at + 2], payments, wanted_payments)
    end,
    C = function(at)
        want(argv[at + 1], users, wanted_users)
    end,
    T = function()
    end,
    M = function()
        if count > 1 then
            bad('cut: mark is a batch of its own')
        end
    end,
    A = function(at)
        want(argv[at], ops, wanted_ops)
        for user in gmatch(argv[at + 2], '[^,]+') do
            want(user, users, wanted_users)
        end
    end,
    X = function()
    end,
}

-- Compares two plain numbers as they are.
local function is_less(a, b)
    return #a < #b or #a == #b and a < b
end

-- Checks the commands' form and cut, and reads at once what they will surely need.
local function check_commands()
    local at, last = FIRST, prev ~= '-1' and prev or ''
    for i = 1, count do
        local letter, offset, time = argv[at], argv[at + 1], argv[at + 2]
        local size = SIZE[letter]
        if not size or not argv[at + size - 1] then
            bad('command ' .. i .. ' is not one')
        end
        if not is_plain(offset) or not is_less(last, offset) then
            bad('offsets do not rise')
        end
        last, last_time = offset, max(last_time, numbers[time] or number(time))
        CHECK[letter](at + 3)
        at = at + size
    end
    if argv[at] or count > 0 and last ~= to then
        bad('the commands do not end at `to`')
    end
    if not log.genesis and (argv[FIRST] ~= 'G' or argv[FIRST + 3] ~= genesis) then
        bad('the first command is not this genesis')
    end
    read_fields(KEYS[3], wanted_users, users)
    read_fields(KEYS[4], wanted_payments, payments)
    read_fields(KEYS[5], wanted_ops, ops)
end

local function run_commands()
    local at = FIRST
    for i = 1, count do
        local letter = argv[at]
        local time = numbers[argv[at + 2]]
        if time > log_time then
            log_time = time
        end
        event, events = nil, nil
        if next_due <= log_time then
            expire_due()
        end
        RULE[letter](argv[at + 1], at + 3)
        lines[i] = events and concat(events, ';') or event or ''
        at = at + SIZE[letter]
    end
end

local function compute()
    count = number(argv[11])
    local reply = read_log()
    if reply then
        return reply
    end
    check_whole()
    read_outbox()
    if count > 0 then
        if entries >= number(argv[9]) then
            return 'full outbox'
        end
        if log.orders + log.payments >= number(argv[10]) then
            return 'full remembered'
        end
    end
    log_time = log.log_time
    last_time = log_time
    check_commands()
    for hold_ms in gmatch(log.holds, '[^,]+') do
        load_due(add_list(hold_ms), 1)
    end
    choose_next()
    run_commands()
    return nil
end

----------------------------------------------------------------------------------------------------
-- Second half: write.

local function write_hash(key, fields, value_of)
    local args, gone = {}, {}
    for field in pairs(fields) do
        local value = value_of(field)
        if value then
            args[#args + 1] = field
            args[#args + 1] = value
        else
            gone[#gone + 1] = field
        end
        if #args >= CHUNK then
            call('HSET', key, unpack(args))
            args = {}
        end
        if #gone >= CHUNK then
            call('HDEL', key, unpack(gone))
            gone = {}
        end
    end
    if #args > 0 then
        call('HSET', key, unpack(args))
    end
    if #gone > 0 then
        call('HDEL', key, unpack(gone))
    end
end

local function write_due(list)
    if list.taken > 0 then
        call('LTRIM', list.key, digits(list.taken), '-1')
    end
    local args = {}
    for i = list.pushed_at, #list.pushed do
        local e = list.pushed[i]
        args[#args + 1] = type(e) == 'string' and e or e.text
        if #args >= CHUNK then
            call('RPUSH', list.key, unpack(args))
            args = {}
        end
    end
    if #args > 0 then
        call('RPUSH', list.key, unpack(args))
    end
end

local function write_outbox_trim()
    if trim > 0 then
        call('LTRIM', KEYS[6], trim, -1)
    end
end

local function write(packed)
    -- First, because Redis refuses it when it is out of memory, and then nothing has changed.
    local head = concat({prev, to, chain, digits(log.log_time)}, ' ')
    if caller_rules ~= '1' then
        head = head .. ' ' .. caller_rules
    end
    call('RPUSH', KEYS[6], head .. '\n' .. packed)
    write_outbox_trim()
    write_hash(KEYS[3], dirty_users, format_orders)
    write_hash(KEYS[2], dirty_items, function(id) return format_item(items[id]) end)
    write_hash(KEYS[4], dirty_payments, function(id) return payments[id] end)
    write_hash(KEYS[5], dirty_ops, function(id) return ops[id] end)
    for i = 1, #lists do
        write_due(lists[i])
    end
    call('HSET', KEYS[1], 'genesis', log.genesis, 'partitions', log.partitions, 'rules', log.rules, 'chain',
         chain_after, 'last_hash', hash_after, 'log_time', digits(log_time), 'items', log.items, 'orders',
         log.orders, 'payments', log.payments, 'holds', log.holds, 'watermark', to)
end

local fine, reply = pcall(compute)
if not fine then
    if type(reply) == 'table' and reply.word then
        return reply.word .. ' ' .. reply.text
    end
    error(reply)
end
if reply then
    if match(reply, '^full') then
        write_outbox_trim()
    end
    return reply
end

local packed = ''
if count > 0 then
    packed = concat(lines, '\n') .. '\n'
    write(packed)
    oldest, entries = oldest or prev, entries + 1
else
    write_outbox_trim()
end
local due = next_due < math.huge and digits(next_due) or '0'
return concat({'ok', count > 0 and to or prev, digits(log_time), due, oldest or '-', entries}, ' ') .. '\n' .. packed
