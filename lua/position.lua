--[[
position.lua - where a partition's state stands, and the batches whose outcomes are not all known to be in Kafka.

KEYS  1 log  2 outbox  3 items  4 orders  5 payments  6 ops  7 rebuild
ARGV  1 how many entries of the outbox are wanted (absent: all)
Reply genesis, watermark, chain, last_hash, log_time, rules, partitions, then the outbox's entries, oldest first;
      without a watermark: `rebuild`, its token and its progress while a rebuild is under way; `keys` when some key is
      there all the same; an empty array when there is nothing.
]]
local v = redis.call('HMGET', KEYS[1], 'genesis', 'watermark', 'chain', 'last_hash', 'log_time', 'rules', 'partitions')
if v[2] then
    local entries = ARGV[1] == '0' and {} or redis.call('LRANGE', KEYS[2], 0, (ARGV[1] or 0) - 1)
    for i = 1, #entries do
        v[7 + i] = entries[i]
    end
    return v
end
-- A replica, or a master that takes no writes, must not say that something is missing: this write, which changes
-- nothing, is an error there.
redis.call('PERSIST', KEYS[7])
local rebuild = redis.call('HMGET', KEYS[7], 'token', 'progress')
if rebuild[1] then
    return {'rebuild', rebuild[1], rebuild[2] or '0'}
end
if redis.call('EXISTS', unpack(KEYS)) > 0 then
    return {'keys'}
end
return {}
