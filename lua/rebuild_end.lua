--[[
rebuild_end.lua - opens a partition that has been rebuilt: the watermark and the end of the fence in one step.

KEYS  1 rebuild  2 log
ARGV  1 token  2 number of the last piece  3.. fields and values of log (none: there is no state)
Reply `ok`, `lost` or `order`, as rebuild_put.lua.
]]
local state = redis.call('HMGET', KEYS[1], 'token', 'progress')
if state[1] ~= ARGV[1] then
    return 'lost'
end
if state[2] ~= ARGV[2] then
    return 'order'
end
if ARGV[3] then
    redis.call('HSET', KEYS[2], unpack(ARGV, 3))
end
redis.call('DEL', KEYS[1])
return 'ok'
