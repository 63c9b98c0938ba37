-- flags: no-writes
-- uses: records clock schema
--
-- Reads lengths and totals. Its work grows with the number of queues and workers, not of jobs.
--
-- KEYS[1]  '{ns}:', the prefix of every key that is read
-- ARGV[1]  now, milliseconds since the epoch; '' for the server's clock
-- Returns: now, per queue an array (queue, ready, ready_at of the job that became ready first or -1), the paused
-- queues, the totals as field and value in turn ('done:<queue>' ...), scheduled, retry, dead, running, live workers.
--
-- Guarantee: changes nothing, and sees one moment of the store.

local now = clock(ARGV[1])

local function ready_at(id)
  local run = decode_run(redis.call('HGET', ns .. 'runs', id))
  if run[READY_AT] > 0 then
    return run[READY_AT]
  end
  return cmsgpack.unpack(redis.call('HGET', ns .. 'heads', id))[ENQUEUED_AT]
end

-- The smallest sequence number is at the head of one of the priorities: one look per priority that is in use.
local function oldest_ready_at(key)
  local from, oldest, smallest = '-inf', nil, nil
  while true do
    local head = redis.call('ZRANGE', key, from, '+inf', 'BYSCORE', 'LIMIT', 0, 1, 'WITHSCORES')
    if not head[1] then
      return oldest and ready_at(oldest) or -1
    end
    local band = math.floor(tonumber(head[2]) / BAND)
    local sequence = tonumber(head[2]) - band * BAND
    if not smallest or sequence < smallest then
      oldest, smallest = head[1], sequence
    end
    from = string.format('%.0f', (band + 1) * BAND)
  end
end

local queues = {}
for position, queue in ipairs(redis.call('ZRANGE', ns .. 'queues', 0, -1)) do
  local key = ready_key(queue)
  queues[position] = {queue, redis.call('ZCARD', key), oldest_ready_at(key)}
end

local running = 0
for _, index in ipairs({'workers', 'gone'}) do
  for _, worker in ipairs(redis.call('ZRANGE', ns .. index, 0, -1)) do
    running = running + redis.call('HLEN', ns .. 'running:' .. worker)
  end
end

local problem = schema_problem(true)
if problem then
  return problem
end

return {
  now,
  queues,
  redis.call('SMEMBERS', ns .. 'paused'),
  redis.call('HGETALL', ns .. 'counters'),
  redis.call('ZCARD', ns .. 'schedule'),
  redis.call('ZCARD', ns .. 'retry'),
  redis.call('ZCARD', ns .. 'dead'),
  running,
  redis.call('ZCOUNT', ns .. 'workers', '(' .. string.format('%.0f', now), '+inf'),
}
