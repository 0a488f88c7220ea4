-- What most shops run: one order, one unit, once per user; a list of what falls due.
-- KEYS 1 stock 2 buyers 3 due   ARGV 1 user 2 order 3 due
local stock = tonumber(redis.call('HGET', KEYS[1], 'stock'))
if redis.call('HEXISTS', KEYS[2], ARGV[1]) == 1 then
    return -2
end
if stock < 1 then
    return -1
end
redis.call('HINCRBY', KEYS[1], 'stock', -1)
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
redis.call('ZADD', KEYS[3], ARGV[3], ARGV[1])
return stock - 1
