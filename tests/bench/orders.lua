-- wrk's: the requests of a file one after the other, all of one length; wrk -s orders.lua URL -- FILE LENGTH
local file, length

function init(args)
  file = assert(io.open(args[1], "rb"))
  file:setvbuf("full", 1048576)
  length = tonumber(args[2])
end

function request()
  return assert(file:read(length), "the file is too short for so many requests")
end

function done(summary)
  local e = summary.errors
  io.write(string.format("\n%d %d %d\n", summary.requests, e.status, e.connect + e.read + e.write + e.timeout))
end
