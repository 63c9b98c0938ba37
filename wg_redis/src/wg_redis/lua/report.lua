-- flags: allow-oom
-- uses: records clock schema many wake erase moves
--
-- Applies a batch of outcomes.
--
-- KEYS[1]  '{ns}:', the prefix of every key that is touched
-- ARGV[1]  now, milliseconds since the epoch; '' for the server's clock
-- ARGV[2]  worker
-- ARGV[3]  request number
-- ARGV[4]  msgpack array, per outcome: kind, id, lease_no, then
--          retry: delay (ms), history line · bury: history line · release: delay (ms), none/snooze/bounce ·
--          progress: value · ack, cancel, start: nothing
-- Returns the positions (from 0) of the outcomes that are lost. Error WGREQUEST.
--
-- Guarantee: an outcome changes something only where (id, worker, lease_no) is running, and a repeated request
-- changes nothing. allow-oom: on a full server finished jobs must be able to leave.

local problem = schema_problem()
if problem then
  return problem
end

local now = clock(ARGV[1])
local worker, request_no = ARGV[2], tonumber(ARGV[3])
local running, memory, cancels = ns .. 'running:' .. worker, ns .. 'worker:' .. worker, ns .. 'cancels:' .. worker
local outcomes = cmsgpack.unpack(ARGV[4])

local known = redis.call('HMGET', memory, 'since', 'report_no', 'report_lost')
if not known[1] then
  local all = {}
  for position = 1, #outcomes do
    all[position] = position - 1
  end
  return all
end
if known[2] and request_no <= tonumber(known[2]) then
  if request_no < tonumber(known[2]) then
    return redis.error_reply('WGREQUEST ' .. known[2])
  end
  return cmsgpack.unpack(known[3])
end

local ids = {}
for position, outcome in ipairs(outcomes) do
  ids[position] = outcome[2]
end
local hold_of, to_cancel = {}, {}
for position, hold in ipairs(many_values('HMGET', running, ids)) do
  hold_of[ids[position]] = hold
end
for _, id in ipairs(redis.call('SMEMBERS', cancels)) do
  to_cancel[id] = true
end

local left, erased, freed, lost = {}, {}, {}, {}

local function head_of(id)
  return cmsgpack.unpack(redis.call('HGET', ns .. 'heads', id))
end

-- Of a job that somebody may reserve again.
local function free_run_of(id)
  freed[#freed + 1] = id
  local run = cmsgpack.unpack(redis.call('HGET', ns .. 'runs', id))
  run[WORKER] = ''
  return run
end

-- The job waits for its time in the index `name`.
local function put_off(name, id, run, due)
  save_run(id, run)
  watch_expiry(id, head_of(id))
  redis.call('ZADD', ns .. name, due, id)
end

local function finish(how, id, queue)
  erased[#erased + 1] = id
  count(how, queue)
end

-- What each kind does; those that end the hold return true.
local apply = {}

function apply.ack(id, queue)
  finish('done', id, queue)
  return true
end

function apply.cancel(id, queue)
  finish('cancelled', id, queue)
  return true
end

function apply.retry(id, queue, outcome)
  if to_cancel[id] then
    return apply.cancel(id, queue)
  end
  remember(id, outcome[5])
  put_off('retry', id, free_run_of(id), now + outcome[4])
  return true
end

function apply.bury(id, _, outcome)
  bury(id, head_of(id), free_run_of(id), outcome[4], now)
  return true
end

function apply.release(id, queue, outcome)
  if to_cancel[id] then
    return apply.cancel(id, queue)
  end
  local run, counts_as = free_run_of(id), outcome[5]
  run[ATTEMPT] = run[ATTEMPT] - 1
  if counts_as == 'snooze' then
    run[SNOOZES] = run[SNOOZES] + 1
  elseif counts_as == 'bounce' then
    run[BOUNCES] = run[BOUNCES] + 1
  end
  if outcome[4] > 0 then
    put_off('schedule', id, run, now + outcome[4])
  else
    local head = head_of(id)
    save_run(id, run)
    watch_expiry(id, head)
    stand(id, head, run)
  end
  return true
end

function apply.start(id, queue, outcome)
  hold_of[id] = encode_hold(outcome[3], 1, queue)
  redis.call('HSET', running, id, hold_of[id])
end

function apply.progress(id, _, outcome)
  redis.call('HSET', ns .. 'progress', id, outcome[4])
end

for position, outcome in ipairs(outcomes) do
  local kind, id, lease_no = outcome[1], outcome[2], outcome[3]
  local held_no, _, queue = decode_hold(hold_of[id] or '')
  if tonumber(held_no) ~= lease_no then
    lost[#lost + 1] = position - 1
  elseif apply[kind](id, queue, outcome) then
    hold_of[id] = nil
    left[#left + 1] = id
  end
end

many('HDEL', running, left)
if next(to_cancel) then
  many('SREM', cancels, left)
end
erase(erased)
many('HDEL', ns .. 'progress', freed)
settle_up()
redis.call('HSET', memory, 'report_no', request_no, 'report_lost', cmsgpack.pack(lost))
return lost
