package drift

import (
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// fields are the paths at which two objects differ, sorted, in kubectl's notation, such
// as spec.template.spec.containers[bootcamp-app].image. They name no values.
func fields(a, b any) []string {
	found := map[string]bool{}
	differ("", a, b, found)
	return slices.Sorted(maps.Keys(found))
}

func differ(path string, a, b any, found map[string]bool) {
	if empty(a) && empty(b) || reflect.DeepEqual(a, b) {
		return
	}
	if x, y, ok := both[map[string]any](a, b); ok {
		for key := range keysOf(x, y) {
			differ(join(path, key), x[key], y[key], found)
		}
		return
	}
	if x, y, ok := both[[]any](a, b); ok {
		if named, other := byName(x), byName(y); named != nil && other != nil {
			for name := range keysOf(named, other) {
				differ(path+"["+name+"]", named[name], other[name], found)
			}
			return
		}
		if len(x) == len(y) && slices.ContainsFunc(x, func(v any) bool { _, isMap := v.(map[string]any); return isMap }) {
			for i := range x {
				differ(fmt.Sprintf("%s[%d]", path, i), x[i], y[i], found)
			}
			return
		}
	}
	found[path] = true
}

// empty: an API server leaves out what is empty, or not, as it likes.
func empty(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case map[string]any:
		return len(v) == 0
	case []any:
		return len(v) == 0
	}
	return false
}

// both are two values of one type; one that is not there is none of anything.
func both[T any](a, b any) (x, y T, ok bool) {
	x, isX := a.(T)
	y, isY := b.(T)
	return x, y, isX && isY
}

func keysOf(a, b map[string]any) map[string]bool {
	keys := map[string]bool{}
	for _, m := range []map[string]any{a, b} {
		for key := range m {
			keys[key] = true
		}
	}
	return keys
}

// byName are the elements of a list that each have a name of their own, else nil.
func byName(list []any) map[string]any {
	named := map[string]any{}
	for _, v := range list {
		m, _ := v.(map[string]any)
		name, _ := m["name"].(string)
		if _, twice := named[name]; name == "" || twice {
			return nil
		}
		named[name] = v
	}
	return named
}

var plainKey = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

func join(path, key string) string {
	switch {
	case !plainKey.MatchString(key):
		return path + "[" + key + "]"
	case path == "":
		return key
	}
	return path + "." + key
}

// subset are the paths at which an object is not as a manifest says; what the manifest
// leaves out may be anything.
func subset(wanted, live any) []string {
	found := map[string]bool{}
	missing("", wanted, live, found)
	return slices.Sorted(maps.Keys(found))
}

func missing(path string, wanted, live any, found map[string]bool) {
	if x, y, ok := both[map[string]any](wanted, live); ok {
		for key, v := range x {
			missing(join(path, key), v, y[key], found)
		}
		return
	}
	if x, y, ok := both[[]any](wanted, live); ok && len(x) == len(y) {
		for i := range x {
			missing(fmt.Sprintf("%s[%d]", path, i), x[i], y[i], found)
		}
		return
	}
	differ(path, wanted, live, found)
}

// Brief is a list of paths, of which only some are told.
func Brief(paths []string) string {
	const most = 4
	if len(paths) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(paths[:most], ", "), len(paths)-most)
	}
	return strings.Join(paths, ", ")
}
