-- flags: no-writes
-- uses: records schema many
--
-- Counts jobs of an index by queue, a thousand at a time.
--
-- KEYS[1]  '{ns}:', the prefix of every key that is read
-- ARGV[1]  schedule, retry or dead
-- ARGV[2]  rank to begin at
-- Returns how many were looked at, then queue and count in turn.
--
-- Guarantee: changes nothing, and sees one moment of the store.

local problem = schema_problem(true)
if problem then
  return problem
end

local ids = redis.call('ZRANGE', ns .. ARGV[1], ARGV[2], ARGV[2] + SLICE - 1)
local counts = {}
for _, head in ipairs(many_values('HMGET', ns .. 'heads', ids)) do
  local queue = cmsgpack.unpack(head)[QUEUE]
  counts[queue] = (counts[queue] or 0) + 1
end
local answer = {#ids}
for queue, number in pairs(counts) do
  answer[#answer + 1] = queue
  answer[#answer + 1] = number
end
return answer
