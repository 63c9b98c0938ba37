-- Steps that several transitions share. Counters and wake-ups are collected and written once, by `settle_up`.

local HISTORY_KEEP_BYTES = 65536

local ended = {}
local woken = {}

-- One more job of the queue ended as `how`: done, failed, cancelled or expired.
local function count(how, queue)
  local field = how .. ':' .. queue
  ended[field] = (ended[field] or 0) + 1
end

local function settle_up()
  for field, number in pairs(ended) do
    redis.call('HINCRBY', ns .. 'counters', field, number)
  end
  for queue, number in pairs(woken) do
    wake(queue, number)
  end
end

local function save_run(id, run)
  redis.call('HSET', ns .. 'runs', id, cmsgpack.pack(run))
end

-- A waiting job with an expiry stands in {ns}:expiring; a running one does not.
local function watch_expiry(id, head)
  if head[EXPIRES_AT] > 0 then
    redis.call('ZADD', ns .. 'expiring', head[EXPIRES_AT], id)
  end
end

-- Into the ready queue, at the place that the run remembers.
local function stand(id, head, run)
  local queue = head[QUEUE]
  redis.call('ZADD', ready_key(queue), run[SCORE], id)
  woken[queue] = (woken[queue] or 0) + 1
end

-- Into the ready queue, at the tail of its priority.
local function stand_last(id, head, run, now)
  run[SCORE] = -head[PRIORITY] * BAND + redis.call('INCR', ns .. 'seq')
  run[READY_AT] = now
  save_run(id, run)
  stand(id, head, run)
end

local function remember(id, line)
  local history = (redis.call('HGET', ns .. 'history', id) or '') .. line
  redis.call('HSET', ns .. 'history', id, string.sub(history, -math.max(HISTORY_KEEP_BYTES, #line)))
end

-- To the dead letters, with the line that says why.
local function bury(id, head, run, line, now)
  run[WORKER] = ''
  save_run(id, run)
  remember(id, line)
  redis.call('ZADD', ns .. 'dead', now, id)
  count('failed', head[QUEUE])
end
