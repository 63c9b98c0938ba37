-- flags: no-writes
-- uses: records schema find
--
-- Reads jobs by id.
--
-- KEYS[1]   '{ns}:', the prefix of every key that is read
-- ARGV[1..] ids
-- Returns per job that exists what `describe` says of it (lib/find.lua).
--
-- Guarantee: changes nothing, and sees one moment of the store.

local problem = schema_problem(true)
if problem then
  return problem
end

local found = {}
for _, id in ipairs(ARGV) do
  local head = redis.call('HGET', ns .. 'heads', id)
  if head then
    found[#found + 1] = describe(id, head)
  end
end
return found
