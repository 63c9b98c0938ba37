-- Takes one job from a worker that is gone, by the charging rules of Backend.rescue.
-- `charged` says whether the attempt counts. Returns the new state, and 1 when the attempt was charged.

local function vanished(run, reason, now)
  return cjson.encode({
    attempt = run[ATTEMPT],
    outcome = 'crashed',
    worker = run[WORKER],
    started_at = run[RESERVED_AT],
    ended_at = now,
    error_type = 'WorkerVanished',
    error_message = reason,
  }) .. '\n'
end

local function give_back(id, head, run)
  run[WORKER] = ''
  save_run(id, run)
  watch_expiry(id, head)
  stand(id, head, run)
end

local function settle(id, head, run, charged, reason, now)
  if redis.call('SREM', ns .. 'cancels:' .. run[WORKER], id) == 1 then
    erase({id})
    count('cancelled', head[QUEUE])
    return 'cancelled', 0
  end
  redis.call('HDEL', ns .. 'progress', id)
  if not charged then
    run[ATTEMPT] = run[ATTEMPT] - 1
    give_back(id, head, run)
    return 'ready', 0
  end
  run[CRASHES] = run[CRASHES] + 1
  local line = vanished(run, reason, now)
  if head[AT_MOST_ONCE] == 1 or run[ATTEMPT] > head[MAX_RETRIES] then
    bury(id, head, run, line, now)
    return 'dead', 1
  end
  remember(id, line)
  give_back(id, head, run)
  return 'ready', 1
end

local function forget_worker(worker)
  redis.call('ZREM', ns .. 'workers', worker)
  redis.call('ZREM', ns .. 'gone', worker)
  redis.call('DEL', ns .. 'worker:' .. worker, ns .. 'running:' .. worker, ns .. 'cancels:' .. worker)
end
