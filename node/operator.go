package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// ErrDeclined: the operator did not confirm.
var ErrDeclined = errors.New("not confirmed, nothing was done")

// PrintStatus asks a node's monitor for its status and prints it.
func PrintStatus(w io.Writer, monitor string, asJSON bool) error {
	status, raw, err := fetchStatus(monitor)
	if err != nil {
		return err
	}
	if asJSON {
		_, err = w.Write(raw)
		return err
	}
	_, err = io.WriteString(w, status.String())
	return err
}

func fetchStatus(monitor string) (*Status, []byte, error) {
	client := http.Client{Timeout: monitorTimeout}
	response, err := client.Get("http://" + monitor + "/status")
	if err != nil {
		return nil, nil, fmt.Errorf("ask the node at %s: %w (is it running, and is that its monitor.listen?)", monitor, err)
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, nil, fmt.Errorf("ask the node at %s: %w", monitor, err)
	}
	if response.StatusCode != http.StatusOK {
		return nil, nil, fmt.Errorf("the node at %s answers %s: %s", monitor, response.Status, strings.TrimSpace(string(raw)))
	}
	var status Status
	if err := json.Unmarshal(raw, &status); err != nil {
		return nil, nil, fmt.Errorf("read the status of the node at %s: %w", monitor, err)
	}
	return &status, raw, nil
}

// RequestFound asks a node to found without the named members (rule P7), once
// confirm has agreed to the risk.
func RequestFound(monitor, without string, confirm func(risk string) bool) error {
	status, _, err := fetchStatus(monitor)
	if err != nil {
		return err
	}
	risk := fmt.Sprintf("%s, whose log ends at %d, becomes the first voter of a new lineage WITHOUT %s.\n"+
		"Writes that were acknowledged and that only %s hold are lost to the new lineage. If one of them is alive and cut off,\n"+
		"it goes on in the old lineage until it meets this one, and then a person has to choose.\n"+
		"Do this only when they are gone for good, or are blank and off.", status.Name, status.Last, without, without)
	if without == "" {
		risk = fmt.Sprintf("%s, whose log ends at %d, becomes the first voter of a new lineage.\n"+
			"Writes that were acknowledged and that only lost stores held are not in it.", status.Name, status.Last)
	}
	if !confirm(risk) {
		return ErrDeclined
	}
	return post(monitor, "/found", url.Values{"without": {without}})
}

// RequestDiscard asks a node to give up a store (rule P7), once confirm has
// agreed to the risk.
func RequestDiscard(monitor, store string, confirm func(risk string) bool) error {
	risk := fmt.Sprintf("Store %s is given up: what only it holds no longer counts, and its node joins again from the others.\n"+
		"The file itself stays in the folder quarantine/ and can be read.", store)
	if !confirm(risk) {
		return ErrDeclined
	}
	return post(monitor, "/discard", url.Values{"store": {store}})
}

func post(monitor, path string, form url.Values) error {
	client := http.Client{Timeout: monitorTimeout}
	response, err := client.PostForm("http://"+monitor+path, form)
	if err != nil {
		return fmt.Errorf("ask the node at %s: %w", monitor, err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return fmt.Errorf("ask the node at %s: %w", monitor, err)
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the node at %s refuses: %s", monitor, strings.TrimSpace(string(answer)))
	}
	return nil
}
