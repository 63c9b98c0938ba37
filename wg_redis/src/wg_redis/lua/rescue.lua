-- flags: allow-oom
-- uses: records clock schema many wake erase moves settle
--
-- Settles jobs of workers whose lease is over.
--
-- KEYS[1]  '{ns}:', the prefix of every key that is touched
-- ARGV[1]  now, milliseconds since the epoch; '' for the server's clock
-- ARGV[2]  the most jobs to settle, and the most workers to mark
-- ARGV[3]  the worker that asks, or ''; without a live lease of its own nothing is done
-- Returns per job an array: id, name, worker, state, charged (0 or 1).
--
-- Guarantee: a worker is marked gone before its first job moves, so nothing that it sends later changes a moved job;
-- it is forgotten when it holds nothing.

local problem = schema_problem()
if problem then
  return problem
end

local now, limit, rescuer = clock(ARGV[1]), tonumber(ARGV[2]), ARGV[3]

-- After a standstill of the server every lease looks over, also that of whoever asked meanwhile.
if rescuer ~= '' and tonumber(redis.call('ZSCORE', ns .. 'workers', rescuer) or 0) <= now then
  return {}
end

local over = redis.call('ZRANGE', ns .. 'workers', '-inf', now, 'BYSCORE', 'LIMIT', 0, limit, 'WITHSCORES')
for position = 1, #over, 2 do
  redis.call('ZREM', ns .. 'workers', over[position])
  redis.call('ZADD', ns .. 'gone', over[position + 1], over[position])
end

-- A Start is reported and answered before an at-most-once job or one with crashes begins; of others nobody can know.
local function may_have_started(started, head, run)
  return started == '1' or (head[AT_MOST_ONCE] == 0 and run[CRASHES] == 0)
end

local settled = {}

local function settle_jobs_of(worker)
  local running = ns .. 'running:' .. worker
  local reason = 'the lease of worker ' .. worker .. ' ran out'
  local held = redis.call('HRANDFIELD', running, limit - #settled, 'WITHVALUES')
  for position = 1, #held, 2 do
    local id = held[position]
    local _, started = decode_hold(held[position + 1])
    local head = cmsgpack.unpack(redis.call('HGET', ns .. 'heads', id))
    local run = cmsgpack.unpack(redis.call('HGET', ns .. 'runs', id))
    local state, cost = settle(id, head, run, may_have_started(started, head, run), reason, now)
    redis.call('HDEL', running, id)
    settled[#settled + 1] = {id, head[NAME], worker, state, cost}
  end
  if redis.call('EXISTS', running) == 0 then
    forget_worker(worker)
  end
end

for _, worker in ipairs(redis.call('ZRANGE', ns .. 'gone', 0, limit - 1)) do
  if #settled >= limit then
    break
  end
  settle_jobs_of(worker)
end
settle_up()
return settled
