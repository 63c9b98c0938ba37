-- flags: no-writes
-- uses: records schema
--
-- Reads the known workers.
--
-- KEYS[1]  '{ns}:', the prefix of every key that is read
-- Returns per worker an array: id, registered at (ms since the epoch), lease until (ms since the epoch), info or nil,
-- how many jobs it holds.
--
-- Guarantee: changes nothing, and sees one moment of the store.

local problem = schema_problem(true)
if problem then
  return problem
end

local answer = {}
for _, index in ipairs({'workers', 'gone'}) do
  local found = redis.call('ZRANGE', ns .. index, 0, -1, 'WITHSCORES')
  for position = 1, #found, 2 do
    local worker = found[position]
    answer[#answer + 1] = {
      worker,
      redis.call('HGET', ns .. 'worker:' .. worker, 'since') or 0,
      found[position + 1],
      redis.call('HGET', ns .. 'worker:' .. worker, 'info'),
      redis.call('HLEN', ns .. 'running:' .. worker),
    }
  end
end
return answer
