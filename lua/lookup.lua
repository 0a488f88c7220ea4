--[[
lookup.lua - the orders of some users, some items and some payments, together with the position they are valid at.

KEYS  1 log  2 orders  3 items  4 payments
ARGV  1 number of users  2 number of items, then users, then items, then payments
Reply watermark, log_time, genesis, then per user, item and payment its value or nothing (false);
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

local users_end = 2 + tonumber(ARGV[1])
local items_end = users_end + tonumber(ARGV[2])
read(KEYS[2], 3, users_end)
read(KEYS[3], users_end + 1, items_end)
read(KEYS[4], items_end + 1, #ARGV)
return v
