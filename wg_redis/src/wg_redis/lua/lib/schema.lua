-- Every script that changes something first looks whether the keys are of a layout it knows, so that nothing is
-- written by an old version into a newer layout, also when the upgrade happens while the old version runs.

local SCHEMA_VERSION = 1

-- Returns an error reply for the caller to return, or nil.
local function schema_problem()
  local min_compatible = redis.call('HGET', KEYS[1] .. 'meta', 'min_compatible')
  if not min_compatible then
    return redis.error_reply('WGMISSING there is no schema')
  end
  if tonumber(min_compatible) > SCHEMA_VERSION then
    return redis.error_reply('WGNEWER ' .. min_compatible)
  end
end
