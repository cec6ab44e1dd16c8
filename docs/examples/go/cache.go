package main

import (
	"encoding/json"
	"fmt"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	defaultKey  = "__default__"
	trendingKey = "__all__"
)

// cache says what to show to whom. It is safe for concurrent use.
type cache struct {
	ttl time.Duration // an answer older than this is not shown any more

	mu       sync.Mutex
	answers  map[string]answer // by visitor
	defaults map[string]shown  // by location, or defaultKey
	trending map[string]trend  // by location, or trendingKey
	highest  map[string]int64  // highest input offset seen, by input topic and partition
	repeated int
}

type answer struct {
	time time.Time
	list shown
}

// shown is a list.
type shown struct {
	items   []string
	until   *time.Time        // when something in it goes; nil = nothing does
	because map[string]string // of some items, that of the session they are owed to
}

// trend is what is viewed at a place, most viewed first, and what rises there, most first.
type trend struct {
	items  []string
	rising []string
}

// record holds the fields of the first two topics that a cache needs; see docs/consumers.md for all of them.
type record struct {
	ID     string `json:"id"`
	Status string `json:"status"`
	Items  []struct {
		ItemID  string `json:"item_id"`
		Because string `json:"because"`
	} `json:"items"`
	ValidUntil *time.Time `json:"valid_until"`
}

// trendRecord holds the fields of trending that a cache needs.
type trendRecord struct {
	Items []struct {
		ItemID string  `json:"item_id"`
		Rising float64 `json:"rising"`
	} `json:"items"`
}

func newCache(ttl time.Duration) *cache {
	return &cache{
		ttl:      ttl,
		answers:  map[string]answer{},
		defaults: map[string]shown{},
		trending: map[string]trend{},
		highest:  map[string]int64{},
	}
}

// takeAnswer takes a record of recommendations; a tombstone (nil) forgets the visitor.
func (c *cache) takeAnswer(visitor string, value []byte, at time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if value == nil {
		delete(c.answers, visitor)
		return nil
	}
	var r record
	if err := json.Unmarshal(value, &r); err != nil {
		return err
	}
	repeated, err := c.isRepeated(r.ID)
	switch {
	case err != nil:
		return err
	case repeated:
		c.repeated++
	case r.Status == "answered" && len(r.Items) > 0:
		c.answers[visitor] = answer{at, r.shown()}
	case r.Status == "no_consent":
		delete(c.answers, visitor)
	} // All other statuses say nothing newer about this visitor: what is cached stays.
	return nil
}

// takeDefault takes a record of default-recommendations; a tombstone (nil) ends a location's own list.
func (c *cache) takeDefault(key string, value []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if value == nil {
		delete(c.defaults, key)
		return nil
	}
	var r record
	if err := json.Unmarshal(value, &r); err != nil {
		return err
	}
	c.defaults[key] = r.shown()
	return nil
}

// takeTrending takes a record of trending; a tombstone (nil) ends a place's own list.
func (c *cache) takeTrending(key string, value []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if value == nil {
		delete(c.trending, key)
		return nil
	}
	var r trendRecord
	if err := json.Unmarshal(value, &r); err != nil {
		return err
	}
	if r.Items == nil {
		return fmt.Errorf("no items in the record of %q", key)
	}
	c.trending[key] = r.trend()
	return nil
}

// trends gives a place and its list: of this place, else of the nearest around it that has one, else of all.
func (c *cache) trends(location string) (string, trend) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for place := location; place != ""; place = around(place) {
		if held, ok := c.trending[place]; ok {
			return place, held
		}
	}
	if held, ok := c.trending[trendingKey]; ok {
		return trendingKey, held
	}
	return trendingKey, trend{items: []string{}, rising: []string{}} // [] in JSON, not null
}

// get gives a list that is not over: the visitor's own, else the nearest place's, else that for everybody.
func (c *cache) get(visitor, location string, now time.Time) (source string, list shown) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if own, ok := c.answers[visitor]; ok && now.Sub(own.time) <= c.ttl && !own.list.isOver(now) {
		return "visitor", own.list
	}
	for place := location; place != ""; place = around(place) {
		if held, ok := c.defaults[place]; ok && !held.isOver(now) {
			return "default", held
		}
	}
	if held, ok := c.defaults[defaultKey]; ok && !held.isOver(now) {
		return "default", held
	}
	return "default", shown{items: []string{}, because: map[string]string{}} // [] and {} in JSON, not null
}

// isOver tells whether something in the list is gone.
func (s shown) isOver(now time.Time) bool {
	return s.until != nil && !now.Before(*s.until)
}

// around gives the place that a place lies in: nl/nh of nl/nh/ams, nothing of nl.
func around(place string) string {
	if slash := strings.LastIndexByte(place, '/'); slash > 0 {
		return place[:slash]
	}
	return ""
}

// sweep drops what has expired: memory is bounded by the visitors of one TTL.
func (c *cache) sweep(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for visitor, own := range c.answers {
		if now.Sub(own.time) > c.ttl {
			delete(c.answers, visitor)
		}
	}
}

// repeats counts the records that came again.
func (c *cache) repeats() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.repeated
}

// isRepeated tells a record that was delivered before: ids are topic-partition-offset, and offsets only grow.
func (c *cache) isRepeated(id string) (bool, error) {
	dash := strings.LastIndexByte(id, '-')
	if dash < 0 {
		return false, fmt.Errorf("id %q is no topic-partition-offset", id)
	}
	offset, err := strconv.ParseInt(id[dash+1:], 10, 64)
	if err != nil {
		return false, err
	}
	source := id[:dash]
	if highest, ok := c.highest[source]; ok && offset <= highest {
		return true, nil
	}
	c.highest[source] = offset
	return false, nil
}

func (r record) shown() shown {
	list := shown{make([]string, len(r.Items)), r.ValidUntil, map[string]string{}}
	for i, item := range r.Items {
		list.items[i] = item.ItemID
		if item.Because != "" {
			list.because[item.ItemID] = item.Because
		}
	}
	return list
}

func (r trendRecord) trend() trend {
	list := trend{make([]string, len(r.Items)), []string{}}
	for i, item := range r.Items {
		list.items[i] = item.ItemID
	}
	sort.SliceStable(r.Items, func(i, j int) bool { return r.Items[i].Rising > r.Items[j].Rising })
	for _, item := range r.Items {
		if item.Rising > 0 {
			list.rising = append(list.rising, item.ItemID)
		}
	}
	return list
}
