--[[
rebuild_put.lua - one piece of a partition that is being rebuilt.

KEYS  1 rebuild  2 the key it belongs to
ARGV  1 token  2 the piece's number, from 1 on  3 HSET or RPUSH  4.. its arguments
Reply `ok`, also for the last piece once more; `lost` when the token is another's, or none; `order` when the number is
      not the next one.
]]
local state = redis.call('HMGET', KEYS[1], 'token', 'progress')
if state[1] ~= ARGV[1] then
    return 'lost'
end
if state[2] == ARGV[2] then
    return 'ok'
end
if tonumber(state[2]) + 1 ~= tonumber(ARGV[2]) then
    return 'order'
end
redis.call(ARGV[3], KEYS[2], unpack(ARGV, 4))
redis.call('HSET', KEYS[1], 'progress', ARGV[2])
return 'ok'
