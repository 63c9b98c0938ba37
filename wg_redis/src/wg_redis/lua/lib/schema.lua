-- Every script first looks whether the keys are of a layout it knows, so that an old version does nothing to a newer
-- layout, also when the upgrade happens while it runs.

local SCHEMA_VERSION = 1

-- Returns an error reply for the script to return, or nil. Readers find nothing in a namespace that is not there yet.
local function schema_problem(is_reader)
  local min_compatible = redis.call('HGET', KEYS[1] .. 'meta', 'min_compatible')
  if not min_compatible then
    return not is_reader and redis.error_reply('WGMISSING there is no schema') or nil
  end
  if tonumber(min_compatible) > SCHEMA_VERSION then
    return redis.error_reply('WGNEWER ' .. min_compatible)
  end
end
