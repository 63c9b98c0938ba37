-- Where a job stands, and everything that is known of it.

local INDEX_OF = {scheduled = 'schedule', retry = 'retry', dead = 'dead'}

-- Returns the state, and the score in the index of that state (nil when running).
local function locate(id, head, run)
  if run[WORKER] ~= '' then
    return 'running'
  end
  local score = redis.call('ZSCORE', ready_key(head[QUEUE]), id)
  if score then
    return 'ready', score
  end
  for _, state in ipairs({'scheduled', 'retry', 'dead'}) do
    score = redis.call('ZSCORE', ns .. INDEX_OF[state], id)
    if score then
      return state, score
    end
  end
end

-- Returns what the readers answer per job: id, state, score in the index of the state or '', head, body,
-- run or '', hold or '', whether a cancel is pending (0 or 1), progress or nil, history or nil.
local function describe(id, packed_head)
  local packed_run = redis.call('HGET', ns .. 'runs', id)
  local run = decode_run(packed_run)
  local state, score = locate(id, cmsgpack.unpack(packed_head), run)
  local hold = state == 'running' and redis.call('HGET', ns .. 'running:' .. run[WORKER], id)
  local cancel = state == 'running' and redis.call('SISMEMBER', ns .. 'cancels:' .. run[WORKER], id)
  return {
    id, state or '', score or '', packed_head, redis.call('HGET', ns .. 'bodies', id),
    packed_run or '', hold or '', cancel or 0,
    redis.call('HGET', ns .. 'progress', id), redis.call('HGET', ns .. 'history', id),
  }
end
