--[[
lookup.lua - the orders of some users and some items, together with the position they are valid at.

KEYS  1 log  2 orders  3 items
ARGV  1 number of users, then users, then items
Reply watermark, log_time, genesis, then per user and per item its value or nothing (false);
      an empty array when there is no watermark.
]]
local CHUNK = 4000
local v = redis.call('HMGET', KEYS[1], 'watermark', 'log_time', 'genesis')
if not v[1] then
    return {}
end

local function read(key, first, last)
    for from = first, last, CHUNK do
        local values = redis.call('HMGET', key, unpack(ARGV, from, math.min(from + CHUNK - 1, last)))
        for i = 1, #values do
            v[#v + 1] = values[i]
        end
    end
end

local users = tonumber(ARGV[1])
read(KEYS[2], 2, 1 + users)
read(KEYS[3], 2 + users, #ARGV)
return v
