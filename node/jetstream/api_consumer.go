package jetstream

import (
	"strings"

	"github.com/nats-io/nats-server/v2/server"

	"holdfast/node/machine"
)

// consumerCreate creates or updates a consumer. The subject names stream,
// consumer and filter, or, as older clients do for ephemeral consumers, the
// stream alone.
func (d *Door) consumerCreate(r *request) any {
	return d.createConsumer(r, func(body *server.CreateConsumerRequest) *server.ApiError {
		if len(r.args) == 1 {
			if body.Config.Durable != "" {
				return server.NewJSConsumerEphemeralWithDurableNameError()
			}
			return checkConsumerName(body.Config.Name)
		}
		name, filter := r.args[1], strings.Join(r.args[2:], ".")
		if apiErr := checkConsumerName(name); apiErr != nil {
			return apiErr
		}
		if body.Config.Durable != "" && body.Config.Durable != name {
			return server.NewJSConsumerDurableNameNotMatchSubjectError()
		}
		body.Config.Name = name
		if filter != "" && len(body.Config.FilterSubjects) != 0 {
			return server.NewJSConsumerMultipleFiltersNotAllowedError()
		}
		if filter != "" && body.Config.FilterSubject != filter {
			return server.NewJSConsumerCreateFilterSubjectMismatchError()
		}
		return nil
	})
}

// consumerCreateDurable is the older way to create a durable consumer.
func (d *Door) consumerCreateDurable(r *request) any {
	return d.createConsumer(r, func(body *server.CreateConsumerRequest) *server.ApiError {
		name := r.args[1]
		if apiErr := checkConsumerName(name); apiErr != nil {
			return apiErr
		}
		if body.Config.Durable == "" {
			return server.NewJSConsumerDurableNameNotSetError()
		}
		if body.Config.Durable != name {
			return server.NewJSConsumerDurableNameNotMatchSubjectError()
		}
		body.Config.Name = name
		return nil
	})
}

func checkConsumerName(name string) *server.ApiError {
	if strings.ContainsAny(name, `\/`) {
		return server.NewJSConsumerNameContainsPathSeparatorsError()
	}
	return nil
}

// createConsumer is what both ways share; names checks the names and takes them
// from the subject.
func (d *Door) createConsumer(r *request, names func(*server.CreateConsumerRequest) *server.ApiError) any {
	resp := &server.JSApiConsumerCreateResponse{ApiResponse: responseOf(server.JSApiConsumerCreateResponseType)}
	var body server.CreateConsumerRequest
	s, apiErr := d.consumerRequest(r, &body, names)
	if apiErr != nil {
		resp.Error = apiErr
		return resp
	}
	if resp.Error = d.prepareSourcing(r, s, &body.Config); resp.Error != nil {
		return resp
	}
	config, apiErr := d.consumerConfig(s, &body)
	if apiErr != nil {
		resp.Error = apiErr
		return resp
	}
	d.room(len(r.payload) + 2*commandOverhead)
	d.batches.builder.CreateConsumer(s.Incarnation(), config, body.Action)
	again := d.resetSourcing(r, s, config, resp)
	d.propose(r, func(d *Door, result *machine.Result) any {
		if resp.Error == nil {
			resp.Error = result.Err
		}
		switch {
		case resp.Error != nil:
		case again:
			resp.ConsumerInfo = d.describeReset(result)
		default:
			resp.ConsumerInfo = d.describeConsumer(result.Consumer)
		}
		return resp
	})
	return nil
}

func (d *Door) consumerRequest(r *request, body *server.CreateConsumerRequest, names func(*server.CreateConsumerRequest) *server.ApiError) (*machine.Stream, *server.ApiError) {
	if err := decode(r.payload, body); err != nil {
		return nil, server.NewJSInvalidJSONError(err)
	}
	if requiresHigherLevel(r.header) {
		return nil, server.NewJSRequiredApiLevelError()
	}
	if body.Stream != r.args[0] {
		return nil, server.NewJSStreamMismatchError()
	}
	if apiErr := names(body); apiErr != nil {
		return nil, apiErr
	}
	return d.findStream(r)
}

// consumerConfig completes and checks the configuration of a request.
func (d *Door) consumerConfig(s *machine.Stream, body *server.CreateConsumerRequest) (*server.ConsumerConfig, *server.ApiError) {
	config := &body.Config
	if config.Name == "" {
		config.Name = config.Durable
	}
	existing := s.Consumer(config.Name)
	if config.Name == "" {
		config.Name = d.freeConsumerName(s)
	}
	config.Metadata = consumerLevel(config)
	if existing != nil && body.Action != server.ActionCreate {
		// Only a pause request changes this.
		config.PauseUntil = existing.Config().PauseUntil
	}
	normal, apiErr := machine.NormalizeConsumer(config, s.Config(), d.options.Limits, body.Pedantic)
	if apiErr == nil && existing != nil && body.Action != server.ActionCreate && d.bound(existing, normal) {
		return nil, server.NewJSConsumerNameExistError()
	}
	if apiErr == nil && normal.Durable == "" && normal.InactiveThreshold == 0 {
		normal.InactiveThreshold = server.JsDeleteWaitTimeDefault
	}
	return normal, apiErr
}

// bound reports that a change would take a push consumer away from its listeners.
func (d *Door) bound(existing *machine.Consumer, config *server.ConsumerConfig) bool {
	from := existing.Config().DeliverSubject
	return from != "" && config.DeliverSubject != "" && from != config.DeliverSubject && d.bus.Interest(from)
}

// freeConsumerName draws a name for a consumer that was given none.
func (d *Door) freeConsumerName(s *machine.Stream) string {
	for {
		name := d.randomName(8)
		if s.Consumer(name) == nil {
			return name
		}
	}
}

func (d *Door) randomName(size int) string {
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	name := make([]byte, size)
	for i := range name {
		name[i] = digits[d.random.IntN(len(digits))]
	}
	return string(name)
}

// findConsumer returns the consumer that the request's arguments name.
func (d *Door) findConsumer(r *request) (*machine.Consumer, *server.ApiError) {
	if requiresHigherLevel(r.header) {
		return nil, server.NewJSRequiredApiLevelError()
	}
	return d.lookupConsumer(r)
}

// lookupConsumer is findConsumer for requests whose API level matters only once
// the consumer is found.
func (d *Door) lookupConsumer(r *request) (*machine.Consumer, *server.ApiError) {
	s := d.machine.Stream(r.args[0])
	if s == nil {
		return nil, server.NewJSStreamNotFoundError()
	}
	if c := s.Consumer(r.args[1]); c != nil {
		return c, nil
	}
	return nil, server.NewJSConsumerNotFoundError()
}

// consumerDelete deletes a consumer.
func (d *Door) consumerDelete(r *request) any {
	resp := &server.JSApiConsumerDeleteResponse{ApiResponse: responseOf(server.JSApiConsumerDeleteResponseType)}
	c, apiErr := d.findConsumer(r)
	if !isEmpty(r.payload) && !requiresHigherLevel(r.header) {
		apiErr = server.NewJSNotEmptyRequestError()
	}
	if apiErr != nil {
		resp.Error = apiErr
		return resp
	}
	d.room(commandOverhead)
	d.batches.builder.DeleteConsumer(c.Incarnation())
	d.propose(r, func(_ *Door, result *machine.Result) any {
		resp.Error = result.Err
		resp.Success = result.Err == nil
		return resp
	})
	return nil
}

// consumerInfo answers with a consumer's configuration and state.
func (d *Door) consumerInfo(r *request) any {
	resp := &server.JSApiConsumerInfoResponse{ApiResponse: responseOf(server.JSApiConsumerInfoResponseType)}
	if !isEmpty(r.payload) {
		resp.Error = server.NewJSNotEmptyRequestError()
		return resp
	}
	c, apiErr := d.lookupConsumer(r)
	if apiErr == nil && requiresHigherLevel(r.header) {
		apiErr = server.NewJSRequiredApiLevelError()
	}
	if apiErr != nil {
		resp.Error = apiErr
		return resp
	}
	resp.ConsumerInfo = d.describeConsumer(c)
	return resp
}

// consumerNames answers with the names of a stream's consumers.
func (d *Door) consumerNames(r *request) any {
	resp := &server.JSApiConsumerNamesResponse{
		ApiResponse: responseOf(server.JSApiConsumerNamesResponseType),
		Consumers:   []string{},
	}
	page, paged, apiErr := d.consumerPage(r, server.JSApiNamesLimit)
	resp.Error, resp.ApiPaged = apiErr, paged
	for _, c := range page {
		resp.Consumers = append(resp.Consumers, c.Name())
	}
	return resp
}

// consumerList answers with the infos of a stream's consumers.
func (d *Door) consumerList(r *request) any {
	resp := &server.JSApiConsumerListResponse{
		ApiResponse: responseOf(server.JSApiConsumerListResponseType),
		Consumers:   []*server.ConsumerInfo{},
	}
	page, paged, apiErr := d.consumerPage(r, server.JSApiListLimit)
	resp.Error, resp.ApiPaged = apiErr, paged
	for _, c := range page {
		info := d.describeConsumer(c)
		info.Config = c.Config() // without version and level, as a cluster's lists are
		resp.Consumers = append(resp.Consumers, info)
	}
	return resp
}

// consumerPage returns the part of a stream's consumers that a list asks for.
func (d *Door) consumerPage(r *request, limit int) ([]*machine.Consumer, server.ApiPaged, *server.ApiError) {
	body, apiErr := listRequest[server.JSApiConsumersRequest](r)
	if apiErr != nil {
		return nil, server.ApiPaged{}, apiErr
	}
	s, apiErr := d.findStream(r)
	if apiErr != nil {
		return nil, server.ApiPaged{}, apiErr
	}
	page, paged := pageOf(s.Consumers(), body.Offset, limit)
	return page, paged, nil
}
