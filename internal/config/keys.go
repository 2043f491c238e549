package config

import "reflect"

// Key describes one setting, for the command line and the reference page.
type Key struct {
	// Name is the key in the file; EnvName and FlagName give the other spellings.
	Name string
	// Default is as it would be written in the environment.
	Default string
	// Help is one line.
	Help string
	// Placeholder stands for the value in a usage line; empty for a switch.
	Placeholder string
	// Switch: the flag needs no value.
	Switch bool
}

// Keys lists the settings in the order of Config.
func Keys() []Key {
	var keys []Key
	t := reflect.TypeFor[Config]()
	for i := range t.NumField() {
		f := t.Field(i)
		if name := f.Tag.Get("key"); name != "" {
			keys = append(keys, Key{
				Name: name, Default: f.Tag.Get("default"), Help: f.Tag.Get("help"),
				Placeholder: f.Tag.Get("placeholder"), Switch: f.Type.Kind() == reflect.Bool,
			})
		}
	}
	return keys
}

func known(name string) bool {
	for _, k := range Keys() {
		if k.Name == name {
			return true
		}
	}
	return false
}

func fieldOf(c *Config, name string) reflect.Value {
	v := reflect.ValueOf(c).Elem()
	for i := range v.NumField() {
		if v.Type().Field(i).Tag.Get("key") == name {
			return v.Field(i)
		}
	}
	panic("config: no field for key " + name)
}
