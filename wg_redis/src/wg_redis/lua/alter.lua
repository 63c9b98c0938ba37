-- flags: allow-oom
-- uses: records clock schema many wake erase moves find
--
-- Changes jobs by id, each fenced by its state.
--
-- KEYS[1]   '{ns}:', the prefix of every key that is touched
-- ARGV[1]   now, milliseconds since the epoch; '' for the server's clock
-- ARGV[2]   cancel, requeue, delete, reprioritise or reschedule
-- ARGV[3]   reprioritise: the priority · reschedule: the time in milliseconds since the epoch, or '+' and a delay in
--           milliseconds · else ''
-- ARGV[4]   the states that are expected, separated by spaces
-- ARGV[5..] ids, each once
-- Returns per id '' when it was changed, else the state it is in, or 'no such job'.
--
-- Guarantee: one atomic step; a job that moved on meanwhile is refused.

local problem = schema_problem()
if problem then
  return problem
end

local now, action, argument = clock(ARGV[1]), ARGV[2], ARGV[3]
local expected = {}
for state in string.gmatch(ARGV[4], '%a+') do
  expected[state] = true
end

local function set(...)
  local members = {}
  for _, member in ipairs({...}) do
    members[member] = true
  end
  return members
end

local applies_to = {
  cancel = set('scheduled', 'ready', 'retry', 'running'),
  requeue = set('scheduled', 'retry', 'dead'),
  delete = set('scheduled', 'ready', 'retry', 'dead'),
  reprioritise = set('scheduled', 'ready', 'retry'),
  reschedule = set('scheduled', 'ready', 'retry'),
}

-- Out of the index of its state.
local function leave(id, head, state)
  redis.call('ZREM', state == 'ready' and ready_key(head[QUEUE]) or ns .. INDEX_OF[state], id)
end

local function save_head(id, head)
  redis.call('HSET', ns .. 'heads', id, cmsgpack.pack(head))
end

local function remove(id, head, state)
  leave(id, head, state)
  redis.call('ZREM', ns .. 'expiring', id)
  erase({id})
end

local change = {}

function change.cancel(id, head, run, state)
  if state == 'running' then
    redis.call('SADD', ns .. 'cancels:' .. run[WORKER], id)
    return
  end
  remove(id, head, state)
  count('cancelled', head[QUEUE])
end

change.delete = function(id, head, _, state)
  remove(id, head, state)
end

function change.requeue(id, head, run, state)
  if state == 'dead' then
    run[ATTEMPT], run[CRASHES], run[SNOOZES], run[BOUNCES] = 0, 0, 0, 0
    head[EXPIRES_AT] = 0
    save_head(id, head)
  end
  leave(id, head, state)
  stand_last(id, head, run, now)
end

function change.reprioritise(id, head, _, state, score)
  local priority = tonumber(argument)
  if state == 'ready' then
    redis.call('ZADD', ready_key(head[QUEUE]), tonumber(score) + (head[PRIORITY] - priority) * BAND, id)
  end
  head[PRIORITY] = priority
  save_head(id, head)
end

function change.reschedule(id, head, run, state)
  local run_at = tonumber(argument)
  if string.sub(argument, 1, 1) == '+' then
    run_at = now + tonumber(string.sub(argument, 2))
  end
  if run_at > now then
    leave(id, head, state)
    redis.call('ZADD', ns .. 'schedule', run_at, id)
  elseif state ~= 'ready' then
    leave(id, head, state)
    stand_last(id, head, run, now)
  end
end

local answer = {}
for position = 5, #ARGV do
  local id = ARGV[position]
  local packed_head = redis.call('HGET', ns .. 'heads', id)
  local refusal = 'no such job'
  if packed_head then
    local head, run = cmsgpack.unpack(packed_head), decode_run(redis.call('HGET', ns .. 'runs', id))
    local state, score = locate(id, head, run)
    refusal = state
    if applies_to[action][state] and expected[state] then
      change[action](id, head, run, state, score)
      refusal = ''
    end
  end
  answer[#answer + 1] = refusal
end
settle_up()
return answer
