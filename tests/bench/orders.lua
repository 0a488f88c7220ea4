-- wrk's: the requests of a file one after the other, all of one length; wrk -s orders.lua URL -- FILE LENGTH
-- nginx may answer more than there are, and hears the first ones again; a door is slower.
local file, length

function init(args)
  file = assert(io.open(args[1], "rb"))
  file:setvbuf("full", 1048576)
  length = tonumber(args[2])
end

function request()
  local text = file:read(length)
  if text == nil then
    file:seek("set")
    text = file:read(length)
  end
  return text
end

function done(summary)
  local e = summary.errors
  io.write(string.format("\n%d %d %d\n", summary.requests, e.status, e.connect + e.read + e.write + e.timeout))
end
