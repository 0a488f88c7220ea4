--[[
rebuild_begin.lua - wipes a partition and fences it: from here on only the holder of the token may write.

KEYS  1 rebuild  2 log  3.. every other key of the partition that is known to exist
ARGV  1 token  2 base of the due lists' names  3 not after (ms, this server's clock)
Reply `ok`; `late` when that has passed: a call that came late would wipe what has been rebuilt since.
      A later call wins over an earlier one.
]]
local CHUNK = 4000

local now = redis.call('TIME')
if tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000) > tonumber(ARGV[3]) then
    return 'late'
end

-- Those that came into being since the caller looked.
local due = {}
local holds = redis.pcall('HGET', KEYS[2], 'holds')
for hold_ms in string.gmatch(type(holds) == 'string' and holds or '', '%d+') do
    due[#due + 1] = ARGV[2] .. ':' .. hold_ms
end
local there = redis.call('TYPE', KEYS[1]).ok
if there ~= 'hash' and there ~= 'none' then
    redis.call('DEL', KEYS[1])
end
-- The first write, before anything is wiped: out of memory, Redis refuses a script's first write, and no later one.
redis.call('HSET', KEYS[1], 'token', ARGV[1], 'progress', '0')
for first = 2, #KEYS, CHUNK do
    redis.call('UNLINK', unpack(KEYS, first, math.min(first + CHUNK - 1, #KEYS)))
end
for first = 1, #due, CHUNK do
    redis.call('UNLINK', unpack(due, first, math.min(first + CHUNK - 1, #due)))
end
return 'ok'
