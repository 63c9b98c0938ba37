-- flags: allow-oom
-- uses: records clock schema many erase
--
-- Moves ready jobs to running under a worker.
--
-- KEYS[1]   '{ns}:', the prefix of every key that is touched
-- ARGV[1]   now, milliseconds since the epoch; '' for the server's clock
-- ARGV[2]   worker
-- ARGV[3]   request number
-- ARGV[4]   the most jobs to move
-- ARGV[5..] queues in the order to take from; none: every queue, beginning at another one with each request number
-- Returns four arrays in the order of reserve: ids, heads, bodies, runs. Errors WGLEASE, WGREQUEST.
--
-- Guarantee: a job is running under exactly one worker or ready, never both and never neither. The answer to the last
-- request that moved jobs can be asked for again. allow-oom: a full server can still be drained.

local LOOK_BEYOND = 1000 -- expired jobs that are ended on the way, so that a call stays short

local problem = schema_problem()
if problem then
  return problem
end

local now = clock(ARGV[1])
local worker, request_no, limit = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local running, memory = ns .. 'running:' .. worker, ns .. 'worker:' .. worker

local lease_until = redis.call('ZSCORE', ns .. 'workers', worker)
if not lease_until or tonumber(lease_until) <= now then
  return redis.error_reply('WGLEASE the worker has no live lease')
end

-- Returns what a worker is told of its jobs.
local function answer(ids, runs)
  return {ids, many_values('HMGET', ns .. 'heads', ids), many_values('HMGET', ns .. 'bodies', ids), runs}
end

local remembered = redis.call('HMGET', memory, 'reserve_no', 'reserved')
if remembered[1] and request_no <= tonumber(remembered[1]) then
  if request_no < tonumber(remembered[1]) then
    return redis.error_reply('WGREQUEST ' .. remembered[1])
  end
  local reserved, held = cmsgpack.unpack(remembered[2]), {}
  for position, hold in ipairs(many_values('HMGET', running, reserved)) do
    if hold then
      table.insert(held, reserved[position])
    end
  end
  return answer(held, many_values('HMGET', ns .. 'runs', held))
end

local queues, first = {unpack(ARGV, 5)}, 0
if #queues == 0 then
  queues = redis.call('ZRANGE', ns .. 'queues', 0, -1)
  first = #queues > 0 and request_no % #queues or 0
end
local paused = {}
for _, queue in ipairs(redis.call('SMEMBERS', ns .. 'paused')) do
  paused[queue] = true
end

local has_expiring = redis.call('EXISTS', ns .. 'expiring') == 1
local ids, scores, queue_of, expired = {}, {}, {}, {}
local budget = limit + LOOK_BEYOND

-- Sorts what was popped into jobs to hand out and jobs whose time is over.
local function accept(popped, queue)
  local names = {}
  for position = 1, #popped, 2 do
    names[#names + 1] = popped[position]
  end
  local expiries = has_expiring and redis.call('ZMSCORE', ns .. 'expiring', unpack(names)) or {}
  for position, id in ipairs(names) do
    if expiries[position] and tonumber(expiries[position]) <= now then
      expired[#expired + 1] = id
      redis.call('HINCRBY', ns .. 'counters', 'expired:' .. queue, 1)
    else
      ids[#ids + 1] = id
      scores[#ids] = popped[2 * position]
      queue_of[#ids] = queue
    end
  end
  if has_expiring then
    redis.call('ZREM', ns .. 'expiring', unpack(names))
  end
end

local function take(queue)
  while #ids < limit and budget > 0 do
    local popped = redis.call('ZPOPMIN', ready_key(queue), math.min(limit - #ids, budget, SLICE))
    if #popped == 0 then
      return
    end
    budget = budget - #popped / 2
    accept(popped, queue)
  end
end

for offset = 0, #queues - 1 do
  local queue = queues[(first + offset) % #queues + 1]
  if #ids >= limit then
    break
  end
  if not paused[queue] then
    take(queue)
  end
end

erase(expired)
if #ids == 0 then
  return {{}, {}, {}, {}}
end

local runs, holds, run_of = {}, {}, {}
for position, packed in ipairs(many_values('HMGET', ns .. 'runs', ids)) do
  local run = decode_run(packed)
  run[WORKER], run[LEASE_NO], run[ATTEMPT] = worker, run[LEASE_NO] + 1, run[ATTEMPT] + 1
  run[RESERVED_AT], run[SCORE] = now, tonumber(scores[position])
  runs[position] = cmsgpack.pack(run)
  run_of[2 * position - 1], run_of[2 * position] = ids[position], runs[position]
  holds[2 * position - 1], holds[2 * position] = ids[position], encode_hold(run[LEASE_NO], 0, queue_of[position])
end
many('HSET', ns .. 'runs', run_of)
many('HSET', running, holds)
redis.call('HSET', memory, 'reserve_no', request_no, 'reserved', cmsgpack.pack(ids))
return answer(ids, runs)
