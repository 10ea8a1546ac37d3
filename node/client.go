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

// The other end of the monitor: what the commands `holdfast status`, `found` and
// `discard` ask a running node.

// ErrDeclined: the operator did not confirm.
var ErrDeclined = errors.New("not confirmed, nothing was done")

// PrintStatus asks a node's monitor for its status and prints it.
func PrintStatus(w io.Writer, monitor string, asJSON bool) error {
	raw, err := ask(monitor, http.MethodGet, "/status", nil)
	if err != nil {
		return err
	}
	if asJSON {
		_, err = w.Write(raw)
		return err
	}
	var status Status
	if err := json.Unmarshal(raw, &status); err != nil {
		return fmt.Errorf("read the status of the node at %s: %w", monitor, err)
	}
	_, err = io.WriteString(w, status.String())
	return err
}

// RequestFound asks a node to found a lineage without the named members, if any
// (rule P7), once confirm has agreed to what the node says that this does and risks.
func RequestFound(w io.Writer, monitor, without string, confirm func(risk string) bool) error {
	return request(w, monitor, "/found", url.Values{"without": {without}}, confirm)
}

// RequestDiscard asks a node to give up a store (rule P7), once confirm has
// agreed to what the node says that this does and risks.
func RequestDiscard(w io.Writer, monitor, store string, confirm func(risk string) bool) error {
	return request(w, monitor, "/discard", url.Values{"store": {store}}, confirm)
}

// request asks for the risk, then for the deed, and writes what the node says to that.
func request(w io.Writer, monitor, command string, form url.Values, confirm func(risk string) bool) error {
	risk, err := ask(monitor, http.MethodGet, command, form)
	if err != nil {
		return err
	}
	if !confirm(strings.TrimRight(string(risk), "\n")) {
		return ErrDeclined
	}
	answer, err := ask(monitor, http.MethodPost, command, form)
	if err != nil {
		return err
	}
	_, err = w.Write(answer)
	return err
}

// ask makes one request and returns the answer, or the node's refusal as an error.
func ask(monitor, method, path string, form url.Values) ([]byte, error) {
	call, err := http.NewRequest(method, "http://"+monitor+path+"?"+form.Encode(), nil)
	if err != nil {
		return nil, fmt.Errorf("ask the node at %s: %w", monitor, err)
	}
	client := http.Client{Timeout: monitorTimeout}
	response, err := client.Do(call)
	if err != nil {
		return nil, fmt.Errorf("ask the node at %s: %w (is it running, and is that its monitor.listen?)", monitor, err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, fmt.Errorf("ask the node at %s: %w", monitor, err)
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the node at %s refuses: %s", monitor, strings.TrimSpace(string(answer)))
	}
	return answer, nil
}
