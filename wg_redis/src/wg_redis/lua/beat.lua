-- flags: allow-oom
-- uses: records clock schema
--
-- Renews the leases of workers and tells them the news.
--
-- KEYS[1]  '{ns}:', the prefix of every key that is touched
-- ARGV[1]  now, milliseconds since the epoch; '' for the server's clock
-- ARGV[2]  msgpack array, per worker: id, lease (ms), first (0 or 1), info ('' for none)
-- Returns the paused queues, then per worker an array: 1 when its lease is lost, ids with a pending cancel, their holds.
--
-- Guarantee: a worker that a rescue marked gone, or that was retired, never lives again.

local problem = schema_problem()
if problem then
  return problem
end

local now = clock(ARGV[1])

local function renew(worker, lease, first, info)
  if not redis.call('ZSCORE', ns .. 'workers', worker) then
    if first == 0 or redis.call('ZSCORE', ns .. 'gone', worker) then
      return false
    end
    redis.call('HSET', ns .. 'worker:' .. worker, 'since', now)
  end
  redis.call('ZADD', ns .. 'workers', now + lease, worker)
  if info ~= '' then
    redis.call('HSET', ns .. 'worker:' .. worker, 'info', info)
  end
  return true
end

local function news(worker)
  local ids = redis.call('SMEMBERS', ns .. 'cancels:' .. worker)
  if #ids == 0 then
    return {0, {}, {}}
  end
  return {0, ids, redis.call('HMGET', ns .. 'running:' .. worker, unpack(ids, 1, math.min(#ids, 1000)))}
end

local answer = {redis.call('SMEMBERS', ns .. 'paused')}
for _, beat in ipairs(cmsgpack.unpack(ARGV[2])) do
  local worker, lease, first, info = unpack(beat, 1, 4)
  answer[#answer + 1] = renew(worker, lease, first, info) and news(worker) or {1, {}, {}}
end
return answer
