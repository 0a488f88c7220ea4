--[[
chunk.lua - a piece of a hash, together with the position it is valid at.

KEYS  1 log  2 a hash
ARGV  1 cursor  2 how many fields, about
Reply watermark, next cursor (0: that was all), then field, value, ...; an empty array when there is no watermark.
]]
local watermark = redis.call('HGET', KEYS[1], 'watermark')
if not watermark then
    return {}
end
local scan = redis.call('HSCAN', KEYS[2], ARGV[1], 'COUNT', ARGV[2])
local v = {watermark, scan[1]}
for i = 1, #scan[2] do
    v[2 + i] = scan[2][i]
end
return v
