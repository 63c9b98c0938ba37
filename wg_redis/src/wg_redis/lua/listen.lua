-- flags: allow-oom
-- uses: records clock schema
--
-- Announces a waiter, unless there is something to do already.
--
-- KEYS[1]   '{ns}:', the prefix of every key that is touched
-- ARGV[1]   waiter, unique among those that wait at the same time
-- ARGV[2]   for how long it will wait, milliseconds
-- ARGV[3..] queues; none: every queue
-- Returns 1 when a job is ready, else 0: a token will come to {ns}:wake:<queue> ({ns}:wake for every queue).
--
-- Guarantee: a job that becomes ready after the look finds the waiter announced. An announcement that is never taken
-- back (its process died) ends with its deadline.

local problem = schema_problem()
if problem then
  return problem
end

local waiter, patience = ARGV[1], tonumber(ARGV[2])
local queues, suffixes = {unpack(ARGV, 3)}, {}
for position, queue in ipairs(queues) do
  suffixes[position] = ':' .. queue
end
if #queues == 0 then
  queues, suffixes = redis.call('ZRANGE', ns .. 'queues', 0, -1), {''}
end

for _, queue in ipairs(queues) do
  if redis.call('EXISTS', ready_key(queue)) == 1 and redis.call('SISMEMBER', ns .. 'paused', queue) == 0 then
    return 1
  end
end

local deadline = clock() + patience
for _, suffix in ipairs(suffixes) do
  local waiters = ns .. 'waiters' .. suffix
  redis.call('ZADD', waiters, deadline, waiter)
  if redis.call('PTTL', waiters) < patience then
    redis.call('PEXPIRE', waiters, patience)
  end
end
return 0
