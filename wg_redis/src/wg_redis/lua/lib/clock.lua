-- Milliseconds since the epoch: what the caller gave, else the server's clock.
local function clock(given)
  if given and given ~= '' then
    return tonumber(given)
  end
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
