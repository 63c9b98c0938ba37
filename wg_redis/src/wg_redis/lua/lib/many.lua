-- Commands with any number of arguments, in slices that fit Lua's stack (unpack fails at about 8,000).

local SLICE = 1000

local function many(command, key, args)
  for first = 1, #args, SLICE do
    redis.call(command, key, unpack(args, first, math.min(first + SLICE - 1, #args)))
  end
end

-- The same for commands that answer one value per argument.
local function many_values(command, key, args)
  if #args <= SLICE then
    return #args == 0 and {} or redis.call(command, key, unpack(args))
  end
  local values = {}
  for first = 1, #args, SLICE do
    local last = math.min(first + SLICE - 1, #args)
    for offset, value in ipairs(redis.call(command, key, unpack(args, first, last))) do
      values[first + offset - 1] = value
    end
  end
  return values
end
