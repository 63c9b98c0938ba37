-- flags: no-writes
-- uses: records schema many find
--
-- Reads on in one index: a ready queue, the scheduled, retrying or dead jobs, or what one worker runs.
--
-- KEYS[1]  '{ns}:', the prefix of every key that is read
-- ARGV[1]  state
-- ARGV[2]  ready: the queue · running: the worker · else ''
-- ARGV[3]  queue that jobs must have, '' for any
-- ARGV[4]  name that jobs must have, '' for any
-- ARGV[5]  score of the last job that was looked at, '' to begin
-- ARGV[6]  id of that job
-- ARGV[7]  the most jobs to return
-- ARGV[8]  the most jobs to look at, at most 1,000
-- Returns: jobs (as `describe` says, lib/find.lua), how many were looked at, score and id of the last one, 1 when there
-- is more behind it.
--
-- Order: by score, then by id; dead jobs from the end.
--
-- Guarantee: changes nothing, and sees one moment of the store.

local state, partition, queue, name = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local after_score, after_id, limit, look = ARGV[5], ARGV[6], tonumber(ARGV[7]), tonumber(ARGV[8])

-- Byte order, as in sorted sets; Lua's own < follows the server's locale.
local function before(one, other)
  for position = 1, math.min(#one, #other) do
    local byte, other_byte = string.byte(one, position), string.byte(other, position)
    if byte ~= other_byte then
      return byte < other_byte
    end
  end
  return #one < #other
end

-- How many members stand before (score, id), which itself need not be there any more.
local function rank_of(key, score, id)
  local low = redis.call('ZCOUNT', key, '-inf', '(' .. score)
  local high = redis.call('ZCOUNT', key, '-inf', score)
  while low < high do
    local middle = math.floor((low + high) / 2)
    if before(redis.call('ZRANGE', key, middle, middle)[1], id) then
      low = middle + 1
    else
      high = middle
    end
  end
  return low
end

-- Returns ids and their scores in ascending order, from behind the cursor.
local function ascending(key)
  local rank = 0
  if after_score ~= '' then
    rank = rank_of(key, after_score, after_id)
    if redis.call('ZRANGE', key, rank, rank)[1] == after_id then
      rank = rank + 1
    end
  end
  return redis.call('ZRANGE', key, rank, rank + look, 'WITHSCORES')
end

local function descending(key)
  local rank = after_score == '' and redis.call('ZCARD', key) or rank_of(key, after_score, after_id)
  local found, turned = {}, {}
  if rank > 0 then
    found = redis.call('ZRANGE', key, math.max(0, rank - look - 1), rank - 1, 'WITHSCORES')
  end
  for position = #found - 1, 1, -2 do
    turned[#turned + 1] = found[position]
    turned[#turned + 1] = found[position + 1]
  end
  return turned
end

local function held_by(worker)
  local ids, found = redis.call('HKEYS', ns .. 'running:' .. worker), {}
  table.sort(ids, before)
  for _, id in ipairs(ids) do
    if (after_score == '' or before(after_id, id)) and #found <= 2 * look then
      found[#found + 1] = id
      found[#found + 1] = '0'
    end
  end
  return found
end

local candidates
if state == 'running' then
  candidates = held_by(partition)
elseif state == 'ready' then
  candidates = ascending(ready_key(partition))
elseif state == 'dead' then
  candidates = descending(ns .. 'dead')
else
  candidates = ascending(ns .. INDEX_OF[state])
end

local ids = {}
for position = 1, #candidates, 2 do
  ids[#ids + 1] = candidates[position]
end
local heads = many_values('HMGET', ns .. 'heads', ids)

local function matches(head)
  local fields = cmsgpack.unpack(head)
  return (queue == '' or fields[QUEUE] == queue) and (name == '' or fields[NAME] == name)
end

local problem = schema_problem(true)
if problem then
  return problem
end

local jobs, looked = {}, 0
while looked < math.min(#ids, look) and #jobs < limit do
  looked = looked + 1
  if heads[looked] and matches(heads[looked]) then
    jobs[#jobs + 1] = describe(ids[looked], heads[looked])
  end
end
return {jobs, looked, candidates[2 * looked] or '', ids[looked] or '', looked < #ids and 1 or 0}
