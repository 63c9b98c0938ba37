-- flags:
-- uses: records
--
-- Creates the schema, or says what is there.
--
-- KEYS[1]  '{ns}:', the prefix of every key that is touched
-- ARGV[1]  the version of this layout
-- ARGV[2]  the oldest version of wg-redis's layout that can still work with it
-- ARGV[3]  1 to only look
-- Returns the version that was there before (0: none) and its min_compatible. Error WGFOREIGN names a key that is there
-- without our {ns}:meta, or has another type than ours.
--
-- Guarantee: one atomic step, so any number of first starts at once create it once; a newer layout is left as it is.

local TYPES = {
  jobs = 'zset', schedule = 'zset', retry = 'zset', dead = 'zset', expiring = 'zset', queues = 'zset', workers = 'zset',
  gone = 'zset', paused = 'set', heads = 'hash', bodies = 'hash', runs = 'hash', history = 'hash', progress = 'hash',
  counters = 'hash', seq = 'string',
}

local meta = ns .. 'meta'
local kind = redis.call('TYPE', meta).ok
if kind ~= 'none' and kind ~= 'hash' then
  return redis.error_reply('WGFOREIGN ' .. meta)
end
local known = redis.call('HMGET', meta, 'schema_version', 'min_compatible')
if kind == 'hash' and not (tonumber(known[1]) and tonumber(known[2])) then
  return redis.error_reply('WGFOREIGN ' .. meta)
end
for name, wanted in pairs(TYPES) do
  local found = redis.call('TYPE', ns .. name).ok
  if found ~= 'none' and (not known[1] or found ~= wanted) then
    return redis.error_reply('WGFOREIGN ' .. ns .. name)
  end
end
if not known[1] and ARGV[3] ~= '1' then
  redis.call('HSET', meta, 'schema_version', ARGV[1], 'min_compatible', ARGV[2])
end
return {tonumber(known[1] or 0), tonumber(known[2] or 0)}
