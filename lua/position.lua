--[[
position.lua - where a partition's state stands, and the batches whose outcomes are not all known to be in Kafka.

KEYS  1 log  2 outbox
Reply genesis, watermark, chain, last_hash, log_time, rules, partitions, then the outbox's entries, oldest first;
      an empty array when there is no watermark.
]]
local v = redis.call('HMGET', KEYS[1], 'genesis', 'watermark', 'chain', 'last_hash', 'log_time', 'rules', 'partitions')
if not v[2] then
    return {}
end
local entries = redis.call('LRANGE', KEYS[2], 0, -1)
for i = 1, #entries do
    v[7 + i] = entries[i]
end
return v
