-- flags: allow-oom
-- uses: records clock schema wake
--
-- Pauses a queue or resumes it.
--
-- KEYS[1]  '{ns}:', the prefix of every key that is touched
-- ARGV[1]  queue
-- ARGV[2]  pause or resume
-- Returns 1 when something changed, else 0.
--
-- Guarantee: no reserve that begins after a pause was answered hands out a job of the queue, until it is resumed.

local problem = schema_problem()
if problem then
  return problem
end

local queue = ARGV[1]
if ARGV[2] == 'pause' then
  return redis.call('SADD', ns .. 'paused', queue)
end
local changed = redis.call('SREM', ns .. 'paused', queue)
if changed == 1 then
  wake(queue, redis.call('ZCARD', ready_key(queue)))
end
return changed
