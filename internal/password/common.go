package password

import "strings"

// common tells whether the password, without regard to case, is one that is
// tried first (SEC-181). The list is small on purpose: those that anybody would
// try by hand, and their usual decorations.
func common(password string) bool {
	p := strings.ToLower(password)
	if commonWords[p] {
		return true
	}
	for _, end := range commonEndings {
		if word, ok := strings.CutSuffix(p, end); ok && commonWords[word] {
			return true
		}
	}
	return false
}

// commonEndings are what people put behind a common word.
var commonEndings = []string{
	"0", "00", "01", "1", "1!", "11", "12", "12!", "123", "123!", "1234", "1234!", "12345", "12345!", "123456", "!", "!!", "!1", "#1",
	"2020", "2021", "2022", "2023", "2024", "2025", "2026", "2024!", "2025!", "2026!", "@1", "@123", "@1234",
}

var commonWords = func() map[string]bool {
	words := strings.Fields(`
		password passwort passw0rd p@ssword p@ssw0rd pa$$word pa$$w0rd pass passwd passphrase mypassword
		yourpassword newpassword oldpassword password1 password12 motdepasse contrasena senha parola wachtwoord salasana
		123 1234 12345 123456 1234567 12345678 123456789 1234567890 0123456789 987654321 87654321 9876543210
		0000 000000 00000000 1111 111111 11111111 121212 123123 123123123 112233 11223344 123321 147258369 159753 654321
		666666 696969 777777 88888888 999999 12341234 11112222 20202020 19191919
		abc abc123 abcd abcd1234 abcdef abcdefg abcdefgh abcdefghi abc12345 a1b2c3d4 a1b2c3 aa123456 a123456 a1234567 a12345678
		1a2b3c4d 1q2w3e 1q2w3e4r 1q2w3e4r5t 1qaz2wsx 1qaz@wsx qaz2wsx qazwsx qazwsxedc zaq12wsx zaq1zaq1 zxcvbn zxcvbnm
		asdf asdfgh asdfghj asdfghjkl asdf1234 asdasdasd qwer qwer1234 qwert qwerty qwertyu qwertyui qwertyuiop qwertz
		qwerty1 azerty azertyuiop qweasd qweasdzxc q1w2e3r4 q1w2e3r4t5 poiuytrewq lkjhgfdsa mnbvcxz
		admin administrator adminadmin root toor superuser user guest test test123 tester testing testtest demo default
		changeme change letmein letmein! welcome willkommen bienvenue hello hellohello login logon secret topsecret trustno1
		access master manager system server service support backup oracle cisco internet computer laptop samsung google
		facebook iloveyou iloveu loveme lovely love sweetheart darling princess prince queen angel babygirl baby honey
		sunshine rainbow flower butterfly summer winter spring autumn monday friday december january october
		football baseball basketball hockey soccer liverpool chelsea arsenal barcelona realmadrid juventus yankees cowboys
		monkey dragon tiger eagle lion panther dolphin turtle kitty puppy chicken cookie chocolate cheese pepper ginger banana orange
		batman superman spiderman pokemon starwars matrix ninja samurai warrior hunter ranger killer shadow phoenix merlin gandalf
		michael jordan jennifer jessica ashley daniel thomas robert charlie andrew matthew anthony nicole michelle amanda george
		mustang ferrari porsche mercedes harley corvette yamaha whatever nothing freedom blessed jesus heaven forever family
		money million dollar lucky purple silver golden diamond crystal genius hacker password123 pass1234 pass@123 pass@word
	`)
	set := make(map[string]bool, len(words))
	for _, w := range words {
		set[w] = true
	}
	return set
}()
