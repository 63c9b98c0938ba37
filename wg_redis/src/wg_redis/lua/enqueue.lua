-- flags:
-- uses: records clock schema many wake
--
-- Stores a batch of new jobs: all of them that are new, or nothing.
--
-- KEYS[1]   '{ns}:', the prefix of every key that is touched
-- ARGV[1]   now, milliseconds since the epoch; '' for the server's clock
-- ARGV[2]   msgpack array, per job: id, name, queue, priority, max_retries, at_most_once (0 or 1),
--           run_at (ms since the epoch, or nil), delay (ms), expires in (ms, nil for never)
-- ARGV[3..] the bodies, in the same order
-- Returns the positions (from 0) of the jobs that were there before, or twice in the batch.
--
-- Guarantee: one id is one job, while any record of it exists. No flag allow-oom: a server that is out of memory
-- refuses before the first line runs.

local problem = schema_problem()
if problem then
  return problem
end

local now = clock(ARGV[1])
local jobs = cmsgpack.unpack(ARGV[2])
local ids = {}
for position, job in ipairs(jobs) do
  ids[position] = job[1]
end

local known = many_values('HMGET', ns .. 'heads', ids)
local seen, fresh, duplicates = {}, {}, {}
for position, id in ipairs(ids) do
  if known[position] or seen[id] then
    table.insert(duplicates, position - 1)
  else
    seen[id] = true
    table.insert(fresh, position)
  end
end

local heads, bodies, schedule, expiring, ready = {}, {}, {}, {}, {}
local last = #fresh > 0 and redis.call('INCRBY', ns .. 'seq', #fresh) - #fresh
for order, position in ipairs(fresh) do
  local id, name, queue, priority, max_retries, at_most_once, run_at, delay, expires_in = unpack(jobs[position], 1, 9)
  local expires_at = expires_in and now + expires_in or 0
  run_at = run_at or now + delay
  heads[2 * order - 1] = id
  heads[2 * order] = cmsgpack.pack({name, queue, priority, max_retries, at_most_once, now, expires_at})
  bodies[2 * order - 1] = id
  bodies[2 * order] = ARGV[position + 2]
  ready[queue] = ready[queue] or {}
  local index, score = ready[queue], -priority * BAND + last + order
  if run_at > now then
    index, score = schedule, run_at
  end
  index[#index + 1] = score
  index[#index + 1] = id
  if expires_at > 0 then
    expiring[#expiring + 1] = expires_at
    expiring[#expiring + 1] = id
  end
end

for queue in pairs(ready) do
  redis.call('ZCARD', ready_key(queue)) -- a key of somebody else fails here, before anything is written
end
many('HSET', ns .. 'heads', heads)
many('HSET', ns .. 'bodies', bodies)
many('ZADD', ns .. 'schedule', schedule)
many('ZADD', ns .. 'expiring', expiring)
for queue, members in pairs(ready) do
  redis.call('ZADD', ns .. 'queues', 'NX', 0, queue)
  many('ZADD', ready_key(queue), members)
  wake(queue, #members / 2)
end
return duplicates
