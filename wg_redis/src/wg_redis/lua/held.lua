-- flags: no-writes
-- uses: records schema
--
-- Reads what a worker runs.
--
-- KEYS[1]  '{ns}:', the prefix of every key that is read
-- ARGV[1]  worker
-- Returns id and hold (lib/records.lua) in turn.
--
-- Guarantee: changes nothing, and sees one moment of the store.

local problem = schema_problem(true)
if problem then
  return problem
end

return redis.call('HGETALL', ns .. 'running:' .. ARGV[1])
