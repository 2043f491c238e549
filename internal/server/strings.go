package server

import (
	"fmt"
	"time"

	"github.com/bulla-auth/bulla/internal/authorize"
	"github.com/bulla-auth/bulla/internal/oauth"
)

// words are all sentences of the pages, by the name the templates use. A %s is
// filled in by the template.
var words = map[string]string{
	"lang": "en",

	"login.title":    "Log in",
	"login.intro":    "to continue to %s",
	"login.reset":    "Resetting a password here is not possible yet. Ask the people who run this service for a new one.",
	"login.signup":   "No account yet?",
	"login.tosignup": "Sign up",

	"signup.title":   "Sign up",
	"signup.intro":   "to continue to %s",
	"signup.login":   "Already have an account?",
	"signup.tologin": "Log in",
	"signup.button":  "Create account",

	"setup.title":     "Create the administrator",
	"setup.intro":     "This account manages %s. The link that brought you here works once.",
	"setup.done":      "The administrator account is ready",
	"setup.donetext":  "You can now log in with it. This page can be closed.",
	"field.either":    "E-mail address or user name",
	"field.email":     "E-mail address",
	"field.username":  "User name",
	"field.password":  "Password",
	"button.continue": "Continue",

	"consent.title":    "Allow access?",
	"consent.intro":    "%s asks for access to your account.",
	"consent.as":       "You are logged in as %s.",
	"consent.list":     "It will be able to:",
	"consent.api":      "In %s:",
	"consent.offline":  "Keep this access while you are away, until you take it back.",
	"consent.lifetime": "Each access lasts %s.",
	"consent.allow":    "Allow",
	"consent.deny":     "Decline",

	"activate.title":     "Connect a device",
	"activate.intro":     "Enter the code that your device shows.",
	"activate.note":      "Do this only with a device that is yours, and with a code that you see on its screen yourself.",
	"field.usercode":     "Code",
	"device.title":       "Let this device in?",
	"device.intro":       "%s wants to log in to your account on a device.",
	"device.warning":     "Did somebody send you the code or a link? Then decline: you would let their device in.",
	"device.from":        "It asked from the address",
	"device.program":     "With the program",
	"device.asked":       "It asked",
	"device.ago":         "%s ago",
	"device.allow":       "Let it in",
	"device.deny":        "Decline",
	"device.allowed":     "Your device is connected",
	"device.allowedtext": "It goes on by itself in a few seconds. You can close this page.",
	"device.denied":      "The device was not let in",
	"device.deniedtext":  "Nothing was given to it. You can close this page.",

	"logout.title":     "Log out?",
	"logout.intro":     "%s wants to log you out.",
	"logout.anyone":    "A page wants to log you out.",
	"logout.button":    "Log out",
	"logout.stay":      "To stay logged in, close this page.",
	"loggedout.title":  "You are logged out",
	"loggedout.intro":  "You can close this page, or go back to the application to log in again.",
	"formpost.title":   "Taking you back",
	"formpost.intro":   "If nothing happens, press the button.",
	"webmessage.title": "Taking you back",

	"error.what":    "What you can do",
	"error.details": "Details for the people who run the application",
	"error.code":    "Error",
	"error.request": "Request",
	"error.support": "Contact support",
}

// scopeWords describe the standard scopes on the consent page.
var scopeWords = map[string]string{
	"openid": "Know who you are", "profile": "See your profile: name, nickname, picture",
	"email": "See your e-mail address", "address": "See your postal address", "phone": "See your phone number",
	"name": "See your name", "family_name": "See your family name", "given_name": "See your given name",
	"middle_name": "See your middle name", "nickname": "See your nickname", "preferred_username": "See your preferred user name",
	"picture": "See your picture", "website": "See your website", "gender": "See your gender", "birthdate": "See your date of birth",
	"zoneinfo": "See your time zone", "locale": "See your language", "updated_at": "See when your profile changed",
	"email_verified": "See whether your e-mail address is verified", "phone_number": "See your phone number",
	"phone_number_verified": "See whether your phone number is verified",
	"created_at":            "See when your account was made", "identities": "See which accounts you log in with",
}

// faultWords are why a form was not taken. Those that an attacker must not tell
// apart are one (SEC-162, SEC-163).
var faultWords = map[authorize.FormReason]string{
	authorize.WrongCredentials: "Wrong e-mail address, user name or password.",
	authorize.Busy:             "Many people are logging in right now. Your entries are kept: enter the password again in a moment.",
	authorize.WeakPassword:     "The password is too weak.",
	authorize.CommonPassword:   "This password is on the list of common ones. Choose another.",
	authorize.OwnPassword:      "The password is made of your own name or address. Choose another.",
	authorize.LongPassword:     "The password is longer than 1,024 bytes.",
	authorize.SignupRefused:    "This account could not be created. Look at your entries, or log in if you already have an account.",
	authorize.UnknownCode:      "No device waits under this code. Look at it again: codes work for 15 minutes, and once.",
	authorize.TooManyTries:     "Too many codes were wrong. Try again in an hour.",
	authorize.UserExists:       "There already is an account with this address.",
}

// fieldWords are what a field needs, when it is empty or not what it should be.
var fieldWords = map[string][2]string{
	authorize.FieldIdentifier: {"Enter your e-mail address or user name.", ""},
	authorize.FieldEmail:      {"Enter an e-mail address.", "This is not an e-mail address. It looks like name@example.com."},
	authorize.FieldUsername:   {"Enter a user name.", "A user name has letters, digits and the marks _ + - . ! # $ ' ^ ` ~ only."},
	authorize.FieldPassword:   {"Enter a password.", ""},
	authorize.FieldUserCode:   {"Enter the code that the device shows.", ""},
}

func faultText(e *authorize.FormError) string {
	switch e.Reason {
	case authorize.Missing:
		return fieldWords[e.Field][0]
	case authorize.Malformed:
		return fieldWords[e.Field][1]
	}
	return faultWords[e.Reason]
}

// explanation is what an error page says: what happened, and what the user can do.
type explanation struct{ Title, Text, Advice string }

const (
	askOperator = "Go back to the application. If this happens again, tell the people who run it."
	tryAgain    = "Wait a moment and load this page again. Nothing you did is lost."
	startAgain  = "Go back to the application and log in again from there."
)

// explain words an error for the person before the screen. The error's own text
// stands below it, for the operator; text of the request is nowhere (SEC-43).
func explain(e *oauth.Error) explanation {
	switch e.Reason {
	case "unknown_client":
		return explanation{"This application is not known here", "The application that sent you is not registered with this service.", askOperator}
	case "redirect_uri":
		return explanation{"You cannot be sent back safely", "The application asked to send you to an address that is not registered for it.", askOperator}
	case "return_url":
		return explanation{"You cannot be sent back safely", "The application asked to send you, after logging out, to an address that is not registered for it. You are still logged in.", askOperator}
	case "transaction":
		return explanation{"This login is over", "It took longer than 15 minutes, was already finished, or was begun in another browser.", startAgain}
	case "device_code":
		return explanation{"This code is over", "It works for 15 minutes, and once.", "Let the device show a new code."}
	case "ticket":
		return explanation{"This link no longer works", "It works once, for 30 minutes.", "Restart the server to have a new link printed while there is no administrator, or run: bulla user create --admin"}
	case "signup_disabled":
		return explanation{"Signing up is closed", "New accounts are not made here.", "Ask the people who run the application for an account."}
	case "cross_site":
		return explanation{"The form came from another site", "To protect you it was not taken.", startAgain}
	}
	switch {
	case e.Status == 404:
		return explanation{"Page not found", "There is nothing at this address.", "Look at the address, or go back to where you came from."}
	case e.Status == 405:
		return explanation{"This does not work here", "The address exists, but not for this kind of request.", "Go back to where you came from."}
	case e.Status == 421:
		return explanation{"This host is not served here", "No tenant has the name in the address.", "Look at the address. The people who run this server can name the right one."}
	case e.Status == 429:
		return explanation{"Too many requests", "More came in a short time than this server takes.", tryAgain}
	case e.Status >= 500:
		return explanation{"Something went wrong on our side", "Your request could not be answered just now.", tryAgain}
	}
	return explanation{"The request cannot be answered", "The application sent a request with a mistake in it.", askOperator}
}

// lifetimeText is a span for people, to the unit that matters.
func lifetimeText(d time.Duration) string {
	unit := func(n int64, name string) string {
		if n == 1 {
			return "1 " + name
		}
		return fmt.Sprintf("%d %ss", n, name)
	}
	switch s := int64(d / time.Second); {
	case s >= 2*86400 || s == 86400:
		return unit(s/86400, "day")
	case s >= 3600:
		return unit(s/3600, "hour")
	case s >= 60:
		return unit(s/60, "minute")
	default:
		return unit(s, "second")
	}
}
