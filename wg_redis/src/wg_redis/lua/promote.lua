-- flags: allow-oom
-- uses: records clock schema many wake
--
-- Moves due jobs from scheduled and retry to ready, in the order of their times.
--
-- KEYS[1]  '{ns}:', the prefix of every key that is touched
-- ARGV[1]  now, milliseconds since the epoch; '' for the server's clock
-- ARGV[2]  the most jobs to move, at most 1,000
-- Returns how many moved, and in how many milliseconds the next one is due (0: at once, -1: nothing waits).
--
-- Guarantee: each job moves once, with any number of promoters, and is never nowhere.

local problem = schema_problem()
if problem then
  return problem
end

local now, limit = clock(ARGV[1]), tonumber(ARGV[2])
local indexes = {ns .. 'schedule', ns .. 'retry'}

local due = {}
for _, index in ipairs(indexes) do
  local found = redis.call('ZRANGE', index, '-inf', now, 'BYSCORE', 'LIMIT', 0, limit, 'WITHSCORES')
  for position = 1, #found, 2 do
    table.insert(due, {id = found[position], index = index, at = tonumber(found[position + 1]), order = #due})
  end
end
table.sort(due, function(one, other)
  if one.at ~= other.at then
    return one.at < other.at
  end
  return one.order < other.order
end)

local moved = math.min(limit, #due)
local ids = {}
for position = 1, moved do
  ids[position] = due[position].id
end
local heads = many_values('HMGET', ns .. 'heads', ids)
local packed = many_values('HMGET', ns .. 'runs', ids)
local last = moved > 0 and redis.call('INCRBY', ns .. 'seq', moved) - moved
local runs, ready, leaving = {}, {}, {[indexes[1]] = {}, [indexes[2]] = {}}
for position, id in ipairs(ids) do
  local head, run = cmsgpack.unpack(heads[position]), decode_run(packed[position])
  run[READY_AT] = now
  runs[2 * position - 1] = id
  runs[2 * position] = cmsgpack.pack(run)
  local members = ready[head[QUEUE]] or {}
  ready[head[QUEUE]] = members
  members[#members + 1] = -head[PRIORITY] * BAND + last + position
  members[#members + 1] = id
  table.insert(leaving[due[position].index], id)
end

many('HSET', ns .. 'runs', runs)
for index, leavers in pairs(leaving) do
  many('ZREM', index, leavers)
end
for queue, members in pairs(ready) do
  many('ZADD', ready_key(queue), members)
  wake(queue, #members / 2)
end

local next_due = -1
for _, index in ipairs(indexes) do
  local head = redis.call('ZRANGE', index, 0, 0, 'WITHSCORES')
  if head[1] then
    local wait = math.max(0, tonumber(head[2]) - now)
    next_due = next_due < 0 and wait or math.min(next_due, wait)
  end
end
return {moved, next_due}
